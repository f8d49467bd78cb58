//! Beacons: nodes of one local network find each other without configuration.
//!
//! A beacon only introduces its sender to the gossip; membership itself never comes from it.

mod beacon;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) mod fuzzing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::beacon::Beacon;
use super::MembershipConfig;
use super::gossip::Gossip;
use crate::network::{DatagramBind, Datagrams, MulticastBind, Network};
use crate::security::{Refusal, Security};

/// When the first beacons leave, in milliseconds after the start.
const BURST_MILLIS: [u64; 4] = [0, 50, 150, 300];

/// Time between two attempts to reach one address, and between two answers.
const REACH_PAUSE: Duration = Duration::from_millis(200);

/// Addresses whose last attempt is remembered; beacons of others are ignored until one of them is forgotten.
const REACHED_MAX: usize = 1_024;

/// Hosts that the log names because their beacons are refused.
const REFUSED_MAX: usize = 64;

/// The largest sealed beacon, in bytes.
const SEALED_BYTES_MAX: usize = 1_024;

/// Pause after a failed receive, so that a broken socket does not keep a core busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// How every datagram of Tomcat's membership service starts, which uses the same group by default.
const TOMCAT: &[u8] = b"TRIBES-B";

/// The membership is renewed so often, and the interface is set anew: it may have gone and come back meanwhile.
const RENEWED: Duration = Duration::from_secs(10);
/// Between two attempts while there is no way to send.
const RETRIED: Duration = Duration::from_secs(1);

/// A socket in the first of these groups that can be joined.
pub(super) async fn open(network: &dyn Network, binds: &[MulticastBind]) -> io::Result<Box<dyn Datagrams>> {
    let mut refused = io::ErrorKind::NotFound.into();
    for &bind in binds {
        match network.datagrams(DatagramBind::Multicast(bind)).await {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Sends own beacons and follows those of others.
pub(super) struct Beacons {
    network: Arc<dyn Network>,
    security: Arc<Security>,
    config: Arc<MembershipConfig>,
    gossip: Arc<Gossip>,
    group: SocketAddr,
    /// None while it cannot be had.
    socket: Option<Box<dyn Datagrams>>,
    times: Times,
    renewal: Instant,
}

impl Beacons {
    /// For the groups of `config`, of which there is one.
    pub(super) fn new(
        network: Arc<dyn Network>,
        security: Arc<Security>,
        config: Arc<MembershipConfig>,
        gossip: Arc<Gossip>,
    ) -> Self {
        let group = config.multicast.first().map(|bind| (bind.group, bind.port));
        let group = group.expect("there are beacons only with a group").into();
        let (times, renewal) = (Times::new(&config), Instant::now() + RENEWED);
        Self { network, security, config, gossip, group, socket: None, times, renewal }
    }

    /// Starts with the socket that was opened, or with why there is none, and says in `failed` whether it works. Runs until
    /// dropped.
    pub(super) async fn run(mut self, opened: io::Result<Box<dyn Datagrams>>, failed: watch::Sender<Option<String>>) {
        match opened {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => self.failed(&error, &failed),
        }
        let mut follower = Follower::default();
        let mut buffer = [0; SEALED_BYTES_MAX];
        loop {
            tokio::select! {
                () = sleep_until(self.times.next) => {
                    self.times.advance();
                    if let Err(error) = self.send(false).await {
                        self.failed(&error, &failed);
                    } else if self.socket.is_some() && failed.send_replace(None).is_some() {
                        tracing::info!(group = %self.group, "multicast works again");
                    }
                }
                () = sleep_until(self.renewal) => self.renew(&failed).await,
                received = receive(self.socket.as_deref(), &mut buffer) => match received {
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

    /// Without a socket until it can be had again; says so once.
    fn failed(&mut self, error: &io::Error, failed: &watch::Sender<Option<String>>) {
        self.socket = None;
        self.renewal = Instant::now() + RETRIED;
        if failed.send_replace(Some(error.to_string())).is_none() {
            let interfaces: Vec<_> = self.config.multicast.iter().map(|bind| bind.interface).collect();
            tracing::warn!(group = %self.group, ?interfaces, %error, "multicast does not work now; trying again");
        }
    }

    /// Joins again, on the interface that is there now. The former socket goes after the new one has joined, so that
    /// switches see no leave.
    async fn renew(&mut self, failed: &watch::Sender<Option<String>>) {
        match open(&*self.network, &self.config.multicast).await {
            Ok(socket) => {
                self.renewal = Instant::now() + RENEWED;
                if self.socket.replace(socket).is_none() {
                    self.times.restart();
                }
            }
            // What there is may still do.
            Err(error) if self.socket.is_some() => {
                self.renewal = Instant::now() + RENEWED;
                tracing::debug!(group = %self.group, %error, "multicast not joined again");
            }
            Err(error) => self.failed(&error, failed),
        }
    }

    async fn send(&self, answer: bool) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let config = &self.config;
        let beacon = Beacon {
            answer,
            cluster: config.cluster.clone(),
            name: config.name.clone(),
            incarnation: config.incarnation,
            gossip: config.advertise,
        };
        for datagram in self.security.datagrams.seal_beacon(&beacon.encode()) {
            socket.send_to(&datagram, self.group).await?;
        }
        Ok(())
    }

    /// Gossips to the sender of a beacon unless it is a live member already.
    async fn follow(&self, datagram: &[u8], from: SocketAddr, follower: &mut Follower) {
        if datagram.starts_with(TOMCAT) {
            self.security.refusals.count(Refusal::PlainDatagram);
            if !std::mem::replace(&mut follower.warned_of_tomcat, true) {
                tracing::warn!(%from, group = %self.group, "a Tomcat cluster uses the same multicast group; it is ignored");
            }
            return;
        }
        let opened = match self.security.datagrams.open_beacon(datagram) {
            Ok(Some(opened)) => opened,
            Ok(None) => return,
            Err(refusal) => {
                self.refused(refusal, from, follower);
                return;
            }
        };
        self.security.refusals.decoding(opened.payload.len());
        let Some(beacon) = Beacon::decode(&opened.payload) else { return };
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
        if addr.ip().to_canonical().is_loopback() && !self.is_of_this_host(from).await {
            if !std::mem::replace(&mut follower.warned_of_loopback, true) {
                tracing::warn!(
                    %from, name = beacon.name, %addr,
                    "a node on another machine advertises a loopback address; it cannot be reached and is ignored"
                );
            }
            return;
        }
        self.security.datagrams.prefer(opened.key, addr);
        self.gossip.reach(addr);
        if !beacon.answer && follower.may_answer(now) {
            // Should it fail, the next beacon does, too.
            let _ = self.send(true).await;
        }
    }

    /// Clusters may share a group, so this is said once for each host.
    fn refused(&self, refusal: Refusal, from: SocketAddr, follower: &mut Follower) {
        let may_be_meant_for_us = refusal == Refusal::SealedDatagram || self.security.is_on();
        let hosts = &mut follower.refused;
        if may_be_meant_for_us && hosts.len() < REFUSED_MAX && hosts.insert(from.ip()) {
            tracing::warn!(%from, group = %self.group, "ignored a beacon: {refusal} (another cluster in the same group may be meant)");
        }
    }

    /// Whether what came from this address came from this host: only addresses of this host can be bound.
    async fn is_of_this_host(&self, from: SocketAddr) -> bool {
        let bind = DatagramBind::Unicast(SocketAddr::new(from.ip(), 0));
        from.ip().is_loopback() || self.network.datagrams(bind).await.is_ok()
    }
}

async fn receive(socket: Option<&dyn Datagrams>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// What is remembered about the beacons of others.
#[derive(Debug, Default)]
struct Follower {
    reached: BTreeMap<SocketAddr, Instant>,
    answered: Option<Instant>,
    warned_of_tomcat: bool,
    /// Hosts whose beacons were refused, and that was said.
    refused: BTreeSet<IpAddr>,
    warned_of_loopback: bool,
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

    /// Begins anew, with a burst: nobody may have heard of this node so far.
    fn restart(&mut self) {
        (self.start, self.next, self.sent) = (Instant::now(), Instant::now(), 0);
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
