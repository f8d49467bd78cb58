//! Beacons: nodes of one local network find each other without configuration.
//!
//! A beacon only introduces its sender to the gossip; membership itself never comes from it.

mod beacon;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use self::beacon::Beacon;
use super::gossip::Gossip;
use super::{DatagramSeal, MembershipConfig};
use crate::network::Datagrams;

/// When the first beacons leave, in milliseconds after the start.
const BURST_MILLIS: [u64; 4] = [0, 50, 150, 300];

/// Time between two attempts to reach one address, and between two answers.
const REACH_PAUSE: Duration = Duration::from_millis(200);

/// Addresses whose last attempt is remembered; beacons of others are ignored until one of them is forgotten.
const REACHED_MAX: usize = 1_024;

/// The largest sealed beacon, in bytes.
const SEALED_BYTES_MAX: usize = 1_024;

/// Pause after a failed receive, so that a broken socket does not keep a core busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// How every datagram of Tomcat's membership service starts, which uses the same group by default.
const TOMCAT: &[u8] = b"TRIBES-B";

/// Sends own beacons and follows those of others.
pub(super) struct Beacons {
    pub(super) socket: Box<dyn Datagrams>,
    pub(super) group: SocketAddr,
    pub(super) seal: Arc<dyn DatagramSeal>,
    pub(super) config: Arc<MembershipConfig>,
    pub(super) gossip: Arc<Gossip>,
}

impl Beacons {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut follower = Follower::default();
        let mut buffer = [0; SEALED_BYTES_MAX];
        let mut times = Times::new(&self.config);
        loop {
            tokio::select! {
                () = sleep_until(times.next) => {
                    self.send(false).await;
                    times.advance();
                }
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => {
                        if let Some(datagram) = buffer.get(..length) {
                            self.follow(datagram, from, &mut follower).await;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "beacon not received");
                        sleep(RECEIVE_PAUSE).await;
                    }
                }
            }
        }
    }

    async fn send(&self, answer: bool) {
        let config = &self.config;
        let beacon = Beacon {
            answer,
            cluster: config.cluster.clone(),
            name: config.name.clone(),
            incarnation: config.incarnation,
            gossip: config.advertise,
        };
        let sealed = self.seal.seal(&beacon.encode());
        if let Err(error) = self.socket.send_to(&sealed, self.group).await {
            tracing::debug!(group = %self.group, %error, "beacon not sent");
        }
    }

    /// Gossips to the sender of a beacon unless it is a live member already.
    async fn follow(&self, datagram: &[u8], from: SocketAddr, follower: &mut Follower) {
        if datagram.starts_with(TOMCAT) {
            if !std::mem::replace(&mut follower.warned_of_tomcat, true) {
                tracing::warn!(%from, group = %self.group, "a Tomcat cluster uses the same multicast group; it is ignored");
            }
            return;
        }
        let Some(beacon) = self.seal.open(datagram).as_deref().and_then(Beacon::decode) else {
            return;
        };
        if beacon.cluster != self.config.cluster {
            tracing::debug!(%from, "beacon of another cluster");
            return;
        }
        let own = beacon.name == self.config.name && beacon.incarnation == self.config.incarnation;
        let addr = beacon.reachable(from);
        if own || addr == self.config.advertise || addr.port() == 0 {
            return;
        }
        let now = Instant::now();
        if self.gossip.is_live(&beacon.name, beacon.incarnation, addr).await || !follower.may_reach(addr, now) {
            return;
        }
        self.gossip.reach(addr);
        if !beacon.answer && follower.may_answer(now) {
            self.send(true).await;
        }
    }
}

/// What is remembered about the beacons of others.
#[derive(Debug, Default)]
struct Follower {
    reached: BTreeMap<SocketAddr, Instant>,
    answered: Option<Instant>,
    warned_of_tomcat: bool,
}

impl Follower {
    fn may_reach(&mut self, addr: SocketAddr, now: Instant) -> bool {
        self.reached.retain(|_, at| now.duration_since(*at) < REACH_PAUSE);
        if self.reached.len() >= REACHED_MAX || self.reached.contains_key(&addr) {
            return false;
        }
        self.reached.insert(addr, now);
        true
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let may = self.answered.is_none_or(|at| now.duration_since(at) >= REACH_PAUSE);
        if may {
            self.answered = Some(now);
        }
        may
    }
}

/// When beacons leave: a burst first, then regularly with a tenth of jitter, so that nodes do not stay in step.
#[derive(Debug)]
struct Times {
    start: Instant,
    next: Instant,
    sent: usize,
    interval: Duration,
    random: StdRng,
}

impl Times {
    fn new(config: &MembershipConfig) -> Self {
        let start = Instant::now();
        let random = StdRng::seed_from_u64(config.seed);
        Self { start, next: start, sent: 0, interval: config.beacon_interval, random }
    }

    fn advance(&mut self) {
        self.sent += 1;
        self.next = match BURST_MILLIS.get(self.sent) {
            Some(&millis) => self.start + Duration::from_millis(millis),
            None => Instant::now() + self.interval.mul_f64(self.random.random_range(0.9..1.1)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_not_reached_again_before_the_pause_is_over() {
        let (mut follower, now) = (Follower::default(), Instant::now());
        let addr = |port| SocketAddr::from(([10, 0, 0, 1], port));
        assert!(follower.may_reach(addr(1), now));
        assert!(!follower.may_reach(addr(1), now + REACH_PAUSE / 2));
        assert!(follower.may_reach(addr(2), now + REACH_PAUSE / 2));
        assert!(follower.may_reach(addr(1), now + REACH_PAUSE));
        assert!(follower.may_answer(now));
        assert!(!follower.may_answer(now));
        assert!(follower.may_answer(now + REACH_PAUSE));
    }

    #[tokio::test]
    async fn what_is_remembered_of_strangers_is_limited() {
        let (mut follower, now) = (Follower::default(), Instant::now());
        let reached = (1..=u16::MAX).filter(|&port| follower.may_reach(([10, 0, 0, 1], port).into(), now));
        assert_eq!(reached.count(), REACHED_MAX);
    }
}
