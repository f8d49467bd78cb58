//! Messages that are larger than what every network carries whole are cut into several datagrams, and put together again.
//!
//! Left to the system, a large datagram travels as fragments of IP, and many firewalls, tunnels and clouds drop those.
//! A part is `53 B1` (the gossip library's messages begin with `53 B0`), the number of the message in 8 bytes, that of the
//! part and how many there are in one byte each, and then its bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The largest datagram that is sent, in bytes, sealed. Every IPv6 network carries 1,280 bytes with their headers (48),
/// and so does IPv4 as it is used.
const DATAGRAM_BYTES_MAX: usize = 1_200;
/// What a seal may add, in bytes.
const SEAL_BYTES_MAX: usize = crate::security::datagrams::ADDED_BYTES;
const MARK: [u8; 2] = [0x53, 0xB1];
const HEADER_BYTES: usize = 12;
/// The largest message that is not cut, and the largest part with its header, in bytes.
const PLAIN_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - SEAL_BYTES_MAX;
const PART_BYTES_MAX: usize = PLAIN_BYTES_MAX - HEADER_BYTES;
/// Parts of one message: what the gossip library makes at most, 65,510 bytes.
const PARTS_MAX: usize = 65_510_usize.div_ceil(PART_BYTES_MAX);
/// Messages of which parts are missing; the oldest is forgotten for a new one. They take at most 2 MiB.
const MESSAGES_MAX: usize = 32;
/// A part that was late for so long was lost, and will be said again in another message.
const AGE_MAX: Duration = Duration::from_secs(2);

/// The datagrams of `message`, unsealed. `number` differs from those of all other messages of this sender.
pub(super) fn cut(message: Vec<u8>, number: u64) -> Vec<Vec<u8>> {
    if message.len() <= PLAIN_BYTES_MAX {
        return vec![message];
    }
    let chunks = message.chunks(PART_BYTES_MAX);
    let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    let part = |(at, chunk): (u8, &[u8])| [&MARK[..], &number.to_le_bytes(), &[at, count], chunk].concat();
    (0..count).zip(chunks).map(part).collect()
}

/// Messages of which parts are missing.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    messages: BTreeMap<(SocketAddr, u64), Parts>,
}

#[derive(Debug)]
struct Parts {
    began: Instant,
    parts: Vec<Option<Vec<u8>>>,
}

impl Assembly {
    /// Takes an opened datagram, and gives the message that it is, or that is complete with it.
    pub(super) fn take(&mut self, from: SocketAddr, datagram: Vec<u8>) -> Option<Vec<u8>> {
        let Some(rest) = datagram.strip_prefix(&MARK) else {
            return Some(datagram);
        };
        let (number, rest) = rest.split_first_chunk()?;
        let (&[at, count], part) = rest.split_first_chunk()?;
        let (at, count) = (usize::from(at), usize::from(count));
        if !(2..=PARTS_MAX).contains(&count) || at >= count || part.len() > PART_BYTES_MAX {
            return None;
        }
        let key = (from, u64::from_le_bytes(*number));
        self.make_room(key);
        let now = Instant::now();
        let message = self.messages.entry(key).or_insert_with(|| Parts { began: now, parts: vec![None; count] });
        if message.parts.len() == count {
            *message.parts.get_mut(at)? = Some(part.to_vec());
        }
        if message.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.messages.remove(&key)?;
        Some(whole.parts.into_iter().flatten().flatten().collect())
    }

    /// How many messages wait for parts, and the bytes of the parts that have come.
    #[cfg(any(fuzzing, sessionmesh_simulation))]
    pub(super) fn held(&self) -> (usize, usize) {
        let parts = self.messages.values().flat_map(|message| message.parts.iter().flatten());
        (self.messages.len(), parts.map(Vec::len).sum())
    }

    fn make_room(&mut self, key: (SocketAddr, u64)) {
        self.messages.retain(|_, message| message.began.elapsed() < AGE_MAX);
        if self.messages.len() >= MESSAGES_MAX && !self.messages.contains_key(&key) {
            let oldest = self.messages.iter().min_by_key(|(_, message)| message.began).map(|(key, _)| *key);
            oldest.map(|oldest| self.messages.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn message(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn every_message_arrives_whole_from_small_datagrams_in_any_order() {
        for bytes in [1, PLAIN_BYTES_MAX, PLAIN_BYTES_MAX + 1, 2 * PART_BYTES_MAX, 65_510] {
            let mut datagrams = cut(message(bytes), 7);
            assert!(datagrams.iter().all(|datagram| datagram.len() + SEAL_BYTES_MAX <= DATAGRAM_BYTES_MAX));
            assert_eq!(datagrams.len() == 1, bytes <= PLAIN_BYTES_MAX);
            datagrams.reverse();
            let mut assembly = Assembly::default();
            let last = datagrams.pop().unwrap();
            // Some come twice.
            for datagram in datagrams.iter().chain(&datagrams) {
                assert_eq!(assembly.take(from(1), datagram.clone()), None);
            }
            assert_eq!(assembly.take(from(1), last), Some(message(bytes)));
            assert!(assembly.messages.is_empty());
        }
    }

    #[test]
    fn parts_of_different_messages_and_senders_are_not_mixed() {
        let mut assembly = Assembly::default();
        let [one, two] = [cut(message(2_000), 1), cut(message(2_000), 2)];
        assert_eq!(assembly.take(from(1), one[0].clone()), None);
        assert_eq!(assembly.take(from(1), two[1].clone()), None);
        assert_eq!(assembly.take(from(2), one[1].clone()), None);
        assert_eq!(assembly.take(from(1), one[1].clone()), Some(message(2_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_of_messages_that_never_become_whole_is_limited() {
        let mut assembly = Assembly::default();
        for number in 0..1_000 {
            assert_eq!(assembly.take(from(1), cut(message(2_000), number)[0].clone()), None);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(assembly.messages.len(), MESSAGES_MAX);
        // The latest are kept, for a while.
        assert!(assembly.take(from(1), cut(message(2_000), 990)[1].clone()).is_some());
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(assembly.take(from(1), cut(message(2_000), 991)[1].clone()), None);
        assert_eq!(assembly.messages.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tails in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut assembly = Assembly::default();
            for tail in tails {
                assembly.take(from(1), [&MARK[..], &[0; 8], &tail].concat());
                assembly.take(from(1), tail);
            }
        }
    }
}
