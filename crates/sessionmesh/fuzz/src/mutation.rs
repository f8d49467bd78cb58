//! Inputs that are nearly honest, the same ones each time.

/// Draws mutations. Of one seed always the same.
#[derive(Debug)]
pub struct Mutations(u64);

/// What is likely to be taken for a length or a limit.
const LIES: [u64; 10] = [0, 1, 0x7f, 0xff, 0xffff, 0x1_0000, 0xffff_ffff, 1 << 40, 1 << 63, u64::MAX];

impl Mutations {
    /// Those of this number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0. (splitmix64)
    #[allow(clippy::cast_possible_truncation, reason = "the high half counts")]
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 32) as usize % end
    }

    /// `bytes` with one to four changes, some of them from `other`.
    #[must_use]
    pub fn of(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let (end, kind) = ((at + self.below(9)).min(bytes.len()), self.below(9));
        match kind {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            2 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).expect("below 256"),
            3 => {
                let lie = LIES[self.below(LIES.len())].to_le_bytes();
                bytes[at..end].iter_mut().zip(lie).for_each(|(byte, lie)| *byte = lie);
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..end)),
            6 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            7 if !other.is_empty() => {
                let from = self.below(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.insert(at, u8::try_from(self.below(256)).expect("below 256")),
        }
    }
}
