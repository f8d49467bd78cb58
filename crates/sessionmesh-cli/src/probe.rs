//! A datagram to a multicast group, and whether it comes back.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh::network::{DatagramBind, MulticastBind, Network as _, TokioNetwork};
use tokio::time::{Instant, interval, timeout};

/// Time between two datagrams that look for their way back.
const AGAIN: Duration = Duration::from_millis(100);
/// Room for the longest probe; what is longer is somebody else's.
pub(crate) const BYTES_MAX: usize = 64;

const MAGIC: &str = "sessionmesh-check";

/// One datagram of one run of one program, told apart from the beacons of nodes in the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Random, the same for all datagrams of one sender.
    pub(crate) run: u64,
    /// Counts the sender's datagrams, from 0.
    pub(crate) number: u64,
}

impl Probe {
    /// As it is sent.
    pub(crate) fn encode(self) -> String {
        format!("{MAGIC} {:016x} {}", self.run, self.number)
    }

    /// None for any other datagram.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(bytes).ok()?.split(' ');
        let [magic, run, number] = [words.next()?, words.next()?, words.next()?];
        let end = words.next().is_none();
        let probe = Self { run: u64::from_str_radix(run, 16).ok()?, number: number.parse().ok()? };
        (end && magic == MAGIC).then_some(probe)
    }
}

/// A number that no other run has. Not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Sends to the group until a datagram comes back, for `patience` at most, and gives the time that took.
///
/// # Errors
///
/// What went wrong, in words.
pub(crate) async fn own_loop(bind: MulticastBind, patience: Duration) -> Result<Duration, String> {
    let bind = MulticastBind { loopback: true, ..bind };
    let socket =
        TokioNetwork.datagrams(DatagramBind::Multicast(bind)).await.map_err(|e| format!("cannot join: {e}"))?;
    let group = SocketAddr::from((bind.group, bind.port));
    let run = random();
    let start = Instant::now();
    let mut again = interval(AGAIN);
    let mut buffer = [0; BYTES_MAX];
    let mut number = 0;
    let there_and_back = async {
        loop {
            tokio::select! {
                _ = again.tick() => {
                    let probe = Probe { run, number }.encode();
                    socket.send_to(probe.as_bytes(), group).await.map_err(|error| format!("cannot send: {error}"))?;
                    number += 1;
                }
                received = socket.recv_from(&mut buffer) => {
                    let (length, _) = received.map_err(|error| format!("cannot receive: {error}"))?;
                    if Probe::decode(&buffer[..length]).is_some_and(|probe| probe.run == run) {
                        return Ok(start.elapsed());
                    }
                }
            }
        }
    };
    let silent = || format!("nothing came back within {}", humantime::format_duration(patience));
    timeout(patience, there_and_back).await.unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_back() {
        let probe = Probe { run: random(), number: u64::MAX };
        assert_eq!(Probe::decode(probe.encode().as_bytes()), Some(probe));
        assert!(probe.encode().len() <= BYTES_MAX);
    }

    #[test]
    fn other_datagrams_of_the_group_are_no_probes() {
        for other in [&b"TRIBES-B\x01\x00"[..], b"", b"sessionmesh-check 1", b"sessionmesh-check 1 1 1", &[0xff; 64]] {
            assert_eq!(Probe::decode(other), None);
        }
    }
}
