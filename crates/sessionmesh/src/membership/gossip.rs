//! The gossip library behind one wall: only this module and its children name chitchat.

mod bounds;
mod delta;
mod detour;
mod fragments;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) mod fuzzing;
mod profile;
mod transport;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chitchat::{Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, Heartbeat, NodeState};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::time::Instant;

pub(crate) use self::detour::Carried;
use self::transport::{SealedTransport, ServerTransport};
use super::{GossipState, MemberInfo, MembershipConfig};
use crate::lock::lock;
use crate::network::Datagrams;
use crate::security::Security;

/// How long a dead incarnation is remembered, and half of that passed on. Longer than a restart takes, so that a life with
/// its clock set back hears of the one before; short enough that names in a crash loop fill no table: ten names that
/// start again every 3 s leave 400 incarnations behind.
const DEAD_GRACE: Duration = Duration::from_secs(120);

/// Heartbeat intervals the failure detector averages over.
const SAMPLES: usize = 1_000;

/// The detector's first guess of the interval between heartbeats, in gossip intervals.
const FIRST_INTERVALS: u32 = 5;

/// Silences longer than this many gossip intervals are outages; they do not enter the detector's average.
/// After a restarted server it is also how long the members known before count as alive.
const OUTAGE_INTERVALS: u32 = 10;

/// One member's part in the gossip.
pub(super) struct Gossip {
    config: Arc<MembershipConfig>,
    id: ChitchatId,
    transport: SealedTransport,
    state: Mutex<GossipState>,
    /// `None` once stopped.
    server: Mutex<Option<Arc<ChitchatHandle>>>,
    /// Members that count as alive until the time given although the detector of a fresh server does not know them yet.
    carried: Mutex<Option<(Instant, BTreeSet<ChitchatId>)>>,
    changed: Arc<Notify>,
    /// What connections should carry, until somebody has taken it.
    to_carry: Mutex<Option<mpsc::Receiver<Carried>>>,
    arrivals: mpsc::Sender<Carried>,
}

impl Gossip {
    /// Starts to gossip over `socket` as the member that `config` describes, in the state [`GossipState::Starting`].
    pub(super) async fn start(
        socket: Arc<dyn Datagrams>,
        security: Arc<Security>,
        config: Arc<MembershipConfig>,
        seeds: &[SocketAddr],
    ) -> io::Result<Self> {
        let (carry, to_carry) = mpsc::channel(detour::CARRIED_MAX);
        let (arrivals, arrived) = mpsc::channel(detour::CARRIED_MAX);
        let transport = SealedTransport {
            socket,
            security,
            cluster: config.cluster.as_str().into(),
            carry,
            arrived: Arc::new(AsyncMutex::new(arrived)),
            // Another life of this name at this address does not use the same numbers.
            number: Arc::new(AtomicU64::new(config.incarnation << 32)),
        };
        let gossip = Self {
            id: ChitchatId::new(config.name.as_str(), config.incarnation, config.advertise),
            transport,
            state: Mutex::new(GossipState::Starting),
            server: Mutex::new(None),
            carried: Mutex::default(),
            changed: Arc::default(),
            to_carry: Mutex::new(Some(to_carry)),
            arrivals,
            config,
        };
        let server = gossip.spawn(seeds).await?;
        *lock(&gossip.server) = Some(server);
        Ok(gossip)
    }

    /// Messages that connections should carry where datagrams do not pass. Given once.
    pub(super) fn to_carry(&self) -> Option<mpsc::Receiver<Carried>> {
        lock(&self.to_carry).take()
    }

    /// Where messages go that connections have carried here.
    pub(super) fn arrivals(&self) -> mpsc::Sender<Carried> {
        self.arrivals.clone()
    }

    /// Gossips to this address now.
    pub(super) fn reach(&self, addr: SocketAddr) {
        if let Some(server) = self.server() {
            // Fails only for a server that has ended, which `ended` reports.
            let _ = server.gossip(addr);
        }
    }

    /// Sets the own state and gossips to every live member at once.
    pub(super) async fn set_state(&self, state: GossipState) {
        {
            let mut own = lock(&self.state);
            // A node that has said that it leaves takes that back never, whichever of its tasks speaks last.
            if *own >= GossipState::Leaving && state < *own {
                return;
            }
            *own = state;
        }
        for addr in self.live_addrs().await {
            self.reach(addr);
        }
    }

    /// All other incarnations that said enough about themselves, sorted by name and incarnation.
    pub(super) async fn heard(&self) -> Vec<MemberInfo> {
        let carried = self.carried();
        self.with(|chitchat| {
            self.say(chitchat);
            let live: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
            let others = chitchat.node_states().iter().filter(|(id, _)| **id != self.id);
            let alive = |id: &ChitchatId| live.contains(id) || carried.contains(id);
            others.filter_map(|(id, state)| profile::heard(id, state, alive(id))).collect()
        })
        .await
        .unwrap_or_default()
    }

    /// Where the other live members receive gossip.
    pub(super) async fn live_addrs(&self) -> BTreeSet<SocketAddr> {
        let others = |chitchat: &mut Chitchat| {
            self.say(chitchat);
            let others = chitchat.live_nodes().filter(|id| **id != self.id);
            others.map(|id| id.gossip_advertise_addr).collect()
        };
        self.with(others).await.unwrap_or_default()
    }

    /// Whether this incarnation is a live member that receives gossip at `addr`.
    pub(super) async fn is_live(&self, name: &str, incarnation: u64, addr: SocketAddr) -> bool {
        let id = ChitchatId::new(name, incarnation, addr);
        self.with(|chitchat| chitchat.live_nodes().any(|live| *live == id)).await.unwrap_or(false)
    }

    /// Waits until something another member says has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until the server has ended by itself, which means that it panicked.
    pub(super) async fn ended(&self) {
        match self.server() {
            Some(server) => drop(server.termination_watcher().await),
            None => std::future::pending().await,
        }
    }

    /// Puts a new server into the place of one that panicked.
    ///
    /// Nothing that gets past the checks is known to make the library panic, but it is not ours, and what it works on comes
    /// from outside. A member must not fall silent for good whatever happens in there, so everything known is carried over.
    pub(super) async fn restart(&self) -> io::Result<()> {
        let Some(old) = self.server() else { return Ok(()) };
        let (own_heartbeat, own_version, live, states) = old
            .with_chitchat(|chitchat| {
                let own = chitchat.self_node_state();
                let (heartbeat, version) = (own.heartbeat(), own.max_version());
                let live: BTreeSet<ChitchatId> = chitchat.live_nodes().cloned().collect();
                (heartbeat, version, live, chitchat.node_states().clone())
            })
            .await;
        let live: BTreeSet<_> = live.into_iter().chain(self.carried()).collect();
        let seeds: Vec<_> = states.keys().filter(|id| **id != self.id).map(|id| id.gossip_advertise_addr).collect();
        let server = self.spawn(&seeds).await?;
        server
            .with_chitchat(|chitchat| {
                // Counting goes on where it stopped: others ignore what is not above what they have seen.
                carry_own(chitchat.self_node_state(), own_heartbeat, own_version);
                for (id, state) in states.iter().filter(|(id, _)| **id != self.id) {
                    let values = state.key_values_including_deleted();
                    chitchat.reset_node_state_if_update(
                        id,
                        values.map(|(key, value)| (key.to_owned(), value.clone())),
                        state.max_version(),
                        state.last_gc_version(),
                    );
                }
            })
            .await;
        let until = Instant::now() + self.config.gossip_interval * OUTAGE_INTERVALS;
        *lock(&self.carried) = Some((until, live));
        self.swap(server);
        Ok(())
    }

    /// Ends the gossip. The socket is closed a moment later.
    pub(super) fn stop(&self) {
        if let Some(server) = lock(&self.server).take() {
            server.abort();
        }
    }

    /// Ends the gossip, and waits until its socket is not in use any more.
    pub(super) async fn close(&self) {
        let server = self.server();
        self.stop();
        if let Some(server) = server {
            // That it was ended from outside is no news.
            let _ = server.termination_watcher().await;
        }
    }
}

impl Gossip {
    async fn spawn(&self, seeds: &[SocketAddr]) -> io::Result<Arc<ChitchatHandle>> {
        let interval = self.config.gossip_interval;
        let config = ChitchatConfig {
            chitchat_id: self.id.clone(),
            cluster_id: self.config.cluster.clone(),
            gossip_interval: interval,
            listen_addr: self.config.bind,
            // Addresses only: the library would resolve names by itself, past the network seam.
            seed_nodes: seeds.iter().map(SocketAddr::to_string).collect(),
            failure_detector_config: FailureDetectorConfig::new(
                self.config.phi,
                SAMPLES,
                interval * OUTAGE_INTERVALS,
                interval * FIRST_INTERVALS,
                DEAD_GRACE,
            ),
            marked_for_deletion_grace_period: DEAD_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let state = Arc::new(OnceLock::new());
        let transport = ServerTransport { shared: self.transport.clone(), state: Arc::clone(&state) };
        let server = chitchat::spawn_chitchat(config, Vec::new(), &transport).await.map_err(io::Error::other)?;
        state.get_or_init(|| server.chitchat());
        let changed = Arc::clone(&self.changed);
        server
            .with_chitchat(|chitchat| {
                self.say(chitchat);
                let changed = Arc::clone(&changed);
                chitchat.subscribe_event("", move |_| changed.notify_one()).forever();
            })
            .await;
        Ok(Arc::new(server))
    }

    /// Puts `server` in place, unless this has been stopped meanwhile: then it ends with its handle.
    fn swap(&self, server: Arc<ChitchatHandle>) {
        let mut place = lock(&self.server);
        match &mut *place {
            Some(old) => *old = server,
            None => server.abort(),
        }
    }

    fn server(&self) -> Option<Arc<ChitchatHandle>> {
        lock(&self.server).clone()
    }

    async fn with<T>(&self, ask: impl FnMut(&mut Chitchat) -> T) -> Option<T> {
        Some(self.server()?.with_chitchat(ask).await)
    }

    fn say(&self, chitchat: &mut Chitchat) {
        let state = *lock(&self.state);
        profile::say(chitchat.self_node_state(), &self.config, state);
    }

    fn carried(&self) -> BTreeSet<ChitchatId> {
        let mut carried = lock(&self.carried);
        carried.take_if(|(until, _)| *until < Instant::now());
        carried.as_ref().map(|(_, ids)| ids.clone()).unwrap_or_default()
    }
}

fn carry_own(own: &mut NodeState, heartbeat: Heartbeat, version: u64) {
    own.try_set_heartbeat(heartbeat);
    own.set_max_version(version.max(own.max_version()));
}
