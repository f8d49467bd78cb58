//! Where datagrams do not pass, gossip takes connections instead.
//!
//! Who has asked an address again and again without any datagram coming from there asks over a connection, too; and what
//! came over a connection is answered over one. Datagrams are sent all the while, so the detour ends when they pass. Where
//! nothing protects datagrams, all gossip takes connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// A message that a connection carries, or has carried.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Where it goes to, or where its sender receives gossip.
    pub(crate) addr: SocketAddr,
    /// The message. As with datagrams nothing is known about what comes.
    pub(crate) bytes: Vec<u8>,
}

/// Messages that may wait to be carried, and such that came and wait to be read; what is too much is dropped.
pub(super) const CARRIED_MAX: usize = 64;

/// So many questions without an answer are no accident,
const QUESTIONS: u32 = 3;
/// if the first of them is so old.
const PATIENCE: Duration = Duration::from_millis(500);
/// Addresses that are remembered. Of more than that some get datagrams only.
const ADDRESSES_MAX: usize = 1_024;
/// An address that was not asked for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Addresses that were asked since the last datagram came from there.
#[derive(Debug, Default)]
pub(super) struct Detours {
    unanswered: BTreeMap<SocketAddr, Unanswered>,
}

#[derive(Debug)]
struct Unanswered {
    first: Instant,
    last: Instant,
    questions: u32,
}

impl Detours {
    /// A question goes to `to`. Whether it should take a connection, too.
    pub(super) fn asked(&mut self, to: SocketAddr) -> bool {
        let now = Instant::now();
        if self.unanswered.len() >= ADDRESSES_MAX && !self.unanswered.contains_key(&to) {
            self.unanswered.retain(|_, unanswered| now.duration_since(unanswered.last) < FORGOTTEN);
            if self.unanswered.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let fresh = Unanswered { first: now, last: now, questions: 0 };
        let unanswered = self.unanswered.entry(to).or_insert(fresh);
        unanswered.last = now;
        unanswered.questions = unanswered.questions.saturating_add(1);
        unanswered.questions > QUESTIONS && now.duration_since(unanswered.first) >= PATIENCE
    }

    /// A datagram of ours came from there.
    pub(super) fn heard(&mut self, from: SocketAddr) {
        self.unanswered.remove(&from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_asked_by_connections_until_a_datagram_comes() {
        let mut detours = Detours::default();
        for _ in 0..10 {
            assert!(!detours.asked(at(1)), "they may have crossed");
        }
        tokio::time::advance(PATIENCE).await;
        assert!(detours.asked(at(1)));
        assert!(!detours.asked(at(2)), "another one");
        detours.heard(at(1));
        tokio::time::advance(PATIENCE).await;
        for _ in 0..QUESTIONS {
            assert!(!detours.asked(at(1)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_limited_and_forgotten() {
        let mut detours = Detours::default();
        for number in 0..u16::MAX {
            detours.asked(at(number));
        }
        assert_eq!(detours.unanswered.len(), ADDRESSES_MAX);
        tokio::time::advance(FORGOTTEN).await;
        detours.asked(at(u16::MAX));
        assert_eq!(detours.unanswered.len(), 1);
    }
}
