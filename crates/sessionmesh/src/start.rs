//! From a builder to a running node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::id::key_short_hashes;
use sessionmesh_core::incarnation;
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::membership::gossiped::barrier;
use sessionmesh_core::placement::Placement;
use sessionmesh_core::placement::slots::Slots;
use sessionmesh_core::placement::view::{Member, MemberState, View};
use sessionmesh_core::terms::Terms;
use sessionmesh_core::wire::version::Versions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use crate::builder::MeshBuilder;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::engine::link::gossip_relay;
use crate::engine::link::handshake::{ask_who_is_at, is_other_version};
use crate::engine::serve;
use crate::engine::state::evidence::{self, Reports};
use crate::engine::state::lateness::Lateness;
use crate::engine::state::lease_cache::LeaseCache;
use crate::engine::state::node::Node;
use crate::engine::state::parts::{Bounds, Cluster, Identity, Lifecycle, Ports, Replication};
use crate::engine::state::store::Store;
use crate::engine::state::store::user_index::SessionsByUser;
use crate::engine::state::telemetry::Telemetry;
use crate::engine::state::topology::Topology;
use crate::engine::upkeep::search::Search;
use crate::engine::upkeep::view_task::{STRANGERS_MAX, ViewTask};
use crate::engine::upkeep::{anti_entropy, certificates, expire, figures, monitor, ready, secrets};
use crate::error::{Failure, StartError};
use crate::life::Life;
use crate::membership::{Carried, GossipState, MemberInfo, Membership, MembershipConfig};
use crate::mesh::Mesh;
use crate::metrics::Latencies;
use crate::network::{Listener, MulticastBind};
use crate::security::certificates::Certificates;
use crate::security::{Security, secret_file};
use crate::user_index::UserIndex;

/// How often a port is tried that is free for TCP and for UDP, when any port will do.
const PORTS_TRIED: usize = 20;
/// Addresses of earlier lives of this name that are asked at once whether they live; they are dead but for one at most.
const TWINS_ASKED_MAX: usize = 64;
/// Time between two beacons.
const BEACON: Duration = Duration::from_millis(500);
/// Time between two resolutions of a name.
const DNS: Duration = Duration::from_secs(5);

pub(crate) async fn start(builder: MeshBuilder) -> Result<Mesh, StartError> {
    builder.config.validate()?;
    if builder.config.max_sessions_per_user > 0 && user_index(&builder).is_none() {
        return Err(ConfigError::LimitWithoutUsers { limit: builder.config.max_sessions_per_user }.into());
    }
    let mut rng = match builder.seed {
        Some(seed) => StdRng::seed_from_u64(seed),
        None => StdRng::from_os_rng(),
    };
    let mut incarnation = incarnation::first(builder.clock.wall_ms(), rng.next_u64());
    let mut bind = builder.config.bind;
    loop {
        let mut attempt = Attempt::open(&builder, &mut rng, incarnation, bind).await?;
        match attempt.look_around().await {
            Ok(Around::Free) => return Ok(attempt.go()),
            // An earlier life of this name had a larger number: the clock was set back.
            Ok(Around::Outnumbered(known)) => {
                coverage::reached(Path::ClockSetBack);
                incarnation = incarnation::after(known);
            }
            Err(error) => {
                attempt.close().await;
                return Err(error);
            }
        }
        bind = attempt.node_addr;
        attempt.close().await;
    }
}

/// How the settings want traffic to be protected.
fn security(config: &Config, clock: &Arc<dyn Clock>) -> Result<Security, ConfigError> {
    let read = |path: &PathBuf| {
        secret_file::read(path).map_err(|reason| ConfigError::SecretFile { path: path.clone(), reason })
    };
    let from_file = config.secret_file.as_ref().map(read).transpose()?;
    let secrets = from_file.as_ref().unwrap_or(&config.secret);
    let load = |settings| Certificates::load(settings, clock);
    let certificates = config.certificates().map(load).transpose()?;
    Ok(Security::new(&config.cluster, secrets, certificates, config.accept_plaintext))
}

/// The rule that tells whose a session is: that of the program, or else that of the settings.
fn user_index(builder: &MeshBuilder) -> Option<UserIndex> {
    let config = &builder.config;
    let set = || Some(UserIndex::pointer(config.user_attribute.as_deref()?, &config.user_pointer));
    builder.user_index.clone().or_else(set)
}

/// What the node says to others about things that concern them, too.
fn terms(builder: &MeshBuilder) -> Terms {
    builder.config.terms(user_index(builder).map_or(0, |index| index.fingerprint()))
}

/// A node that listens and gossips, but takes no part yet.
struct Attempt {
    node: Arc<Node>,
    membership: Arc<Membership>,
    search: Arc<Search>,
    evidence: mpsc::Receiver<Evidence>,
    strangers: mpsc::Receiver<SocketAddr>,
    node_addr: SocketAddr,
    accepting: JoinHandle<()>,
    searching: JoinHandle<()>,
}

enum Around {
    Free,
    Outnumbered(u64),
}

impl Attempt {
    async fn open(
        builder: &MeshBuilder,
        rng: &mut StdRng,
        incarnation: u64,
        bind: SocketAddr,
    ) -> Result<Self, StartError> {
        let mut tries = 0;
        let life = Life::default();
        let security = Arc::new(security(&builder.config, &builder.clock)?);
        // Simulations compare what they print from run to run.
        if let (Some(key), None) = (security.short_hash_key(), builder.seed) {
            key_short_hashes(key);
        }
        let (listener, membership, addr, advertise) = loop {
            tries += 1;
            let (listener, addr) = listen(builder, bind).await?;
            let advertise = advertised(&builder.config, addr);
            let seed = rng.next_u64();
            let said = (terms(builder), builder.versions);
            let config = membership_config(&builder.config, said, incarnation, addr, advertise, seed);
            match Membership::start(builder.network.clone(), security.clone(), config, life.clone()).await {
                Ok(membership) => break (listener, membership, addr, advertise),
                // The port was free for TCP only.
                Err(error)
                    if bind.port() == 0 && tries < PORTS_TRIED && error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(source) => return Err(StartError::Discovery { source }),
            }
        };
        let (reports, evidence) = evidence::reports();
        let (meet, strangers) = mpsc::channel(STRANGERS_MAX);
        let heard_by_links = (reports, meet, membership.arrivals());
        let node =
            Arc::new(new_node(builder, incarnation, advertise, StdRng::from_rng(rng), security, heard_by_links, life));
        let life = &node.lifecycle.life;
        let accepting = life.spawn_core("accept", serve::accept(node.clone(), listener));
        if let Some(gossip) = membership.to_carry() {
            life.spawn("gossip_relay", gossip_relay::run(node.clone(), gossip));
        }
        let membership = Arc::new(membership);
        let search = Arc::new(Search::new(membership.clone()));
        let searching = life.spawn("search", search.clone().run(node.clone()));
        Ok(Self { node, membership, search, evidence, strangers, node_addr: addr, accepting, searching })
    }

    /// Waits until another node was heard, or nobody until the search for those that are named is over, and makes sure
    /// that nobody else has this node's name.
    async fn look_around(&mut self) -> Result<Around, StartError> {
        let (mut heard, mut named) = (self.membership.heard(), self.membership.named());
        let mut found = self.search.changes();
        let mut company_since = None;
        let mut asked = BTreeSet::new();
        loop {
            if let Some(failure) = self.node.lifecycle.life.failure() {
                return Err(failure.clone().into());
            }
            let members = heard.borrow_and_update().clone();
            let ours = self.node.identity.versions;
            let is_other = |member: &MemberInfo| *member.name != *self.node.config.name && member.alive;
            let others = members.iter().any(|member| is_other(member) && ours.understand(member.versions));
            if let Some(failure) = self.other_version(&members).await {
                return Err(failure.into());
            }
            let twins: Vec<&MemberInfo> = members.iter().filter(|member| self.is_twin(member)).collect();
            if let Some(addr) = self.live_twin(&twins, &mut asked).await {
                return Err(StartError::NameTaken { name: self.node.config.name.clone(), addr });
            }
            // Whatever has become of them: no two lives of one name may have one number.
            let known = twins.iter().map(|twin| twin.incarnation).filter(|known| *known < u64::MAX).max();
            if let Some(known) = known.filter(|known| *known >= self.node.identity.incarnation) {
                return Ok(Around::Outnumbered(known));
            }
            if others {
                company_since.get_or_insert_with(Instant::now);
            }
            // Whoever was heard tells of all it knows within a round of gossip.
            named.mark_unchanged();
            found.mark_unchanged();
            let deadline = self.search.closes(self.node.config.discovery_window);
            let until = company_since.map_or(deadline, |since| since + self.node.config.gossip_interval).min(deadline);
            if Instant::now() >= until {
                let other_version = self.search.other_version(&self.node).filter(|_| !others);
                return other_version.map_or(Ok(Around::Free), |failure| Err(failure.into()));
            }
            let news = async {
                tokio::select! {
                    biased;
                    () = self.node.lifecycle.stop.cancelled() => {}
                    _ = heard.changed() => {}
                    _ = named.changed() => {}
                    _ = found.changed() => {}
                }
            };
            let _ = timeout_at(until, news).await;
        }
    }

    /// Whether this is another life of this node's name.
    fn is_twin(&self, member: &MemberInfo) -> bool {
        let earlier =
            (member.incarnation, member.addr) < (self.node.identity.incarnation, self.node.identity.advertise);
        // Of two that start at once, the later one gives way.
        let yields = member.state == GossipState::Starting && !earlier;
        *member.name == *self.node.config.name && !yields
    }

    /// Whether a member was there before that speaks no version of this node's. It would be no use to go on alone: visitors
    /// would find no session here.
    async fn other_version(&self, members: &[MemberInfo]) -> Option<Failure> {
        let (name, Identity { incarnation, versions: ours, .. }) = (&self.node.config.name, &self.node.identity);
        let member = barrier(*ours, name, *incarnation, members)?;
        // So that it hears of this, whatever it has heard by gossip.
        let _ = timeout(self.node.config.commit_deadline, ask_who_is_at(&self.node, member.addr)).await;
        Some(Failure::OtherVersion { addr: member.addr, theirs: member.versions, ours: *ours })
    }

    /// Where one of the lives that were not asked yet answers, if one does. All are asked at once, the latest first, each
    /// address once: a name that was started again and again must not delay its next start.
    async fn live_twin(&self, twins: &[&MemberInfo], asked: &mut BTreeSet<SocketAddr>) -> Option<SocketAddr> {
        let may_live = twins.iter().rev().filter(|twin| twin.state != GossipState::Left);
        let elsewhere = may_live.map(|twin| twin.addr).filter(|addr| *addr != self.node.identity.advertise);
        let addrs: Vec<SocketAddr> = elsewhere.filter(|addr| asked.insert(*addr)).take(TWINS_ASKED_MAX).collect();
        let answers = join_all(addrs.iter().map(|addr| self.is_live_at(*addr))).await;
        addrs.into_iter().zip(answers).find(|(_, live)| *live).map(|(addr, _)| addr)
    }

    /// Whether a node of this name answers at this address, or one of this cluster that cannot say its name to this one.
    async fn is_live_at(&self, addr: SocketAddr) -> bool {
        let greeted = timeout(self.node.config.commit_deadline, ask_who_is_at(&self.node, addr)).await;
        match greeted {
            Ok(Ok((_, greeted))) => greeted.name == self.node.config.name,
            Ok(Err(error)) => is_other_version(&error),
            Err(_) => false,
        }
    }

    /// Takes part.
    fn go(self) -> Mesh {
        let Self { node, membership, search, evidence, strangers, .. } = self;
        info!(name = %node.config.name, addr = %node.identity.advertise, incarnation = node.identity.incarnation, "node started");
        let (ready, is_ready) = watch::channel(false);
        // Whoever was heard so far is in the view before anything can believe that this node is alone.
        let mut views = ViewTask::new(node.clone(), membership.clone());
        views.review(&membership.heard().borrow().clone());
        let life = &node.lifecycle.life;
        life.spawn_core("views", views.run(evidence, strangers));
        life.spawn_core("monitor", monitor::run(node.clone()));
        life.spawn_core("anti-entropy", anti_entropy::run(node.clone()));
        life.spawn_core("expire", expire::run(node.clone()));
        life.spawn_core("ready", ready::run(node.clone(), membership.clone(), search.clone(), ready));
        life.spawn_core("search", search.clone().report(node.clone()));
        if !node.ports.is_seeded {
            life.spawn("figures", figures::run(node.clone(), search.clone(), is_ready.clone()));
        }
        life.spawn("secrets", secrets::run(node.clone()));
        if node.config.certificates().is_some() {
            life.spawn("certificates", certificates::run(node.clone()));
        }
        Mesh::new(node, membership, search, is_ready)
    }

    /// Ends it, and waits until its port is free.
    async fn close(self) {
        self.node.lifecycle.stop.cancel();
        // A panic of it would be no reason not to go on.
        let _ = self.accepting.await;
        let _ = self.searching.await;
        self.membership.close().await;
    }
}

async fn listen(builder: &MeshBuilder, bind: SocketAddr) -> Result<(Box<dyn Listener>, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { addr: bind, source };
    let listener = builder.network.listen(bind).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// What others are told: the configured address, with the port that was bound where it names none.
fn advertised(config: &Config, bound: SocketAddr) -> SocketAddr {
    let mut addr = config.advertise.unwrap_or(bound);
    if addr.port() == 0 {
        addr.set_port(bound.port());
    }
    addr
}

fn membership_config(
    config: &Config,
    (terms, versions): (Terms, Versions),
    incarnation: u64,
    bind: SocketAddr,
    advertise: SocketAddr,
    seed: u64,
) -> MembershipConfig {
    let multicast = |interface| MulticastBind {
        group: config.multicast_group,
        port: config.multicast_port,
        interface,
        ttl: config.multicast_ttl,
        loopback: true,
    };
    let multicast = match config.multicast_enabled() {
        true => config.multicast_interfaces().into_iter().map(multicast).collect(),
        false => Vec::new(),
    };
    MembershipConfig {
        cluster: config.cluster.clone(),
        name: config.name.clone(),
        incarnation,
        bind,
        advertise,
        zone: config.zone.clone(),
        terms,
        versions,
        multicast,
        multicast_must: config.multicast_enabled()
            && !config.multicast_interface.is_unspecified()
            && config.seeds.is_empty()
            && config.dns.is_empty(),
        seeds: config.seeds.clone(),
        dns: config.dns.clone(),
        gossip_interval: config.gossip_interval,
        phi: config.gossip_phi,
        beacon_interval: BEACON,
        dns_interval: DNS,
        seed,
    }
}

fn new_node(
    builder: &MeshBuilder,
    incarnation: u64,
    advertise: SocketAddr,
    rng: StdRng,
    security: Arc<Security>,
    (reports, strangers, gossip): (Reports, mpsc::Sender<SocketAddr>, mpsc::Sender<Carried>),
    life: Life,
) -> Node {
    let config = builder.config.clone();
    let terms = terms(builder);
    let me = Member {
        name: Arc::from(config.name.as_str()),
        incarnation,
        addr: advertise,
        zone: Arc::from(config.zone.as_str()),
        state: MemberState::Joining,
        terms,
    };
    let hash = me.node();
    let view = View::new([me]);
    let slots = Arc::new(Slots::new(&view, terms.mode));
    let alone =
        Topology::new(Placement::new(1, view, slots, &config.name), &std::collections::BTreeMap::new(), Vec::new());
    Node {
        timing: Timing::new(sessionmesh_core::moment::millis(config.commit_deadline)),
        identity: Identity { hash, incarnation, advertise, terms, versions: builder.versions },
        ports: Ports {
            network: builder.network.clone(),
            security,
            started: builder.clock.elapsed(),
            ticks_from: whole_minute(builder.clock.wall_ms()),
            clock: builder.clock.clone(),
            rng: Mutex::new(rng),
            is_seeded: builder.seed.is_some(),
        },
        store: Store::new(user_index(builder).map(SessionsByUser::new)),
        cluster: Cluster {
            topology: ArcSwap::from_pointee(alone),
            lost: Mutex::default(),
            lease_cache: LeaseCache::default(),
            stall: ArcSwap::default(),
            lateness: Lateness::default(),
            reports,
            strangers,
            gossip,
        },
        replication: Replication::new(hash),
        lifecycle: Lifecycle::new(life),
        telemetry: Telemetry::new(Latencies::of(&config.name)),
        bounds: Bounds::default(),
        config,
    }
}

/// When the minute began that it is by the wall clock. Where clocks are right the nodes of a cluster tick together: then their pings
/// and the answers meet at each of them, and share its wake-ups. Where they are not, each ticks at another time.
fn whole_minute(wall_ms: u64) -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_millis(wall_ms % 60_000)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nodes_with_right_clocks_tick_together_whenever_they_start() {
        let at_ms = 61_234;
        let first = whole_minute(at_ms);
        assert_eq!(Instant::now() - first, Duration::from_millis(1_234));
        tokio::time::advance(Duration::from_millis(17)).await;
        assert_eq!(whole_minute(at_ms + 17), first);
    }
}
