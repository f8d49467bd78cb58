//! Values that are written: a number in front, the rest random, so that nothing on the way can make them shorter.

use rand::RngCore as _;

/// Bytes of the number.
const NUMBER: usize = size_of::<u64>();

/// The value of one session, different from that of any other.
#[derive(Clone, Debug)]
pub(crate) struct Payload(Vec<u8>);

impl Payload {
    /// Random bytes, at least as many as a number takes.
    pub(crate) fn random(bytes: usize) -> Self {
        let mut value = vec![0; bytes.max(NUMBER)];
        rand::rng().fill_bytes(&mut value);
        Self(value)
    }

    /// The value with this number in it.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        self.0[..NUMBER].copy_from_slice(&number.to_le_bytes());
        &self.0
    }
}

/// The number in a value; none if it is too short to have one.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    value.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_again_and_the_rest_differs() {
        let (mut one, mut other) = (Payload::random(64), Payload::random(64));
        assert_eq!((number(one.numbered(7)), number(other.numbered(u64::MAX))), (Some(7), Some(u64::MAX)));
        assert_ne!(one.numbered(1), other.numbered(1));
        assert_eq!(number(Payload::random(0).numbered(3)), Some(3));
        assert_eq!(number(&[0; 7]), None);
    }
}
