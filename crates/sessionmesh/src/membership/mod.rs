//! Who is in the cluster: gossip, and the discoveries that introduce nodes to it.
//!
//! Code map: [`gossip`] wraps the gossip library, [`multicast`] sends and follows beacons, [`resolution`] follows what is [`named`],
//! datagrams pass through the seal of [`crate::security`]. What never happens here: a decision about sessions; a member that
//! gossip has not heard; a wait for an answer.

mod gossip;
mod multicast;
mod named;
mod resolution;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionmesh_core::terms::Terms;
use sessionmesh_core::wire::version::Versions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub(crate) use self::gossip::Carried;
use self::gossip::Gossip;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) use self::gossip::fuzzing as gossip_fuzzing;
use self::multicast::Beacons;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) use self::multicast::fuzzing as beacon_fuzzing;
pub(crate) use self::named::{LookedUp, Named};
use self::resolution::Resolution;
use crate::life::Life;
use crate::lock::lock;
use crate::network::{DatagramBind, Datagrams, MulticastBind, Network};
use crate::security::Security;
use sessionmesh_core::membership::gossiped::same_but_heartbeats;
pub(crate) use sessionmesh_core::membership::gossiped::{GossipState, MemberInfo};

/// The longest name of a cluster, node or zone, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// Attempts to bind the gossip port and the pause between them: the tasks of a member of this process that was just
/// stopped may still hold it.
const BIND_ATTEMPTS: u32 = 10;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// How one member takes part.
#[derive(Debug, Clone)]
pub(crate) struct MembershipConfig {
    /// Members of other clusters are ignored. 1 to [`NAME_BYTES_MAX`] bytes, as are the two other names.
    pub(crate) cluster: String,
    /// Unique in the cluster.
    pub(crate) name: String,
    /// Must rise from life to life of one name.
    pub(crate) incarnation: u64,
    /// Where gossip is received: the number of the replication port, which is known by now (not 0).
    pub(crate) bind: SocketAddr,
    /// Where others reach `bind`. Neither the address nor the port may be unspecified.
    pub(crate) advertise: SocketAddr,
    /// May be empty.
    pub(crate) zone: String,
    /// What this member says about things that concern all members.
    pub(crate) terms: Terms,
    /// Which versions of the protocol this member speaks.
    pub(crate) versions: Versions,
    /// Discovery by beacons: on the first of these that can be had. None: no beacons.
    pub(crate) multicast: Vec<MulticastBind>,
    /// Whether it is an error if none of them can be had at the start. Else they are tried again and again.
    pub(crate) multicast_must: bool,
    /// Discovery by fixed members: `IP:port`, or `host:port`, which is treated as one of `dns`.
    pub(crate) seeds: Vec<String>,
    /// Discovery by names, `host:port`, resolved every `dns_interval`.
    pub(crate) dns: Vec<String>,
    /// Between two rounds of gossip. 200 ms advised: longer is less traffic and later detection, in proportion.
    pub(crate) gossip_interval: Duration,
    /// How sure the failure detector must be; 8.0 advised. A member is gone after `phi` mean intervals of silence.
    pub(crate) phi: f64,
    /// Between two beacons. 500 ms advised.
    pub(crate) beacon_interval: Duration,
    /// Between two resolutions of a name. 5 s advised.
    pub(crate) dns_interval: Duration,
    /// For the jitter of beacons. (The gossip library draws its own, which cannot be injected.)
    pub(crate) seed: u64,
}

impl MembershipConfig {
    fn validate(&self) -> io::Result<()> {
        let names = [&self.cluster, &self.name, &self.zone];
        let refused = if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            "the name of the cluster, node or zone is longer than 64 bytes"
        } else if self.cluster.is_empty() || self.name.is_empty() {
            "the name of the cluster or node is empty"
        } else if self.bind.port() == 0 || self.advertise.port() == 0 || self.advertise.ip().is_unspecified() {
            "the port to bind or the address to advertise is unspecified"
        } else if [self.gossip_interval, self.beacon_interval, self.dns_interval].contains(&Duration::ZERO) {
            "an interval is zero"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, refused))
    }
}

/// One member's view of the cluster, kept up to date by background tasks that end with it.
pub(crate) struct Membership {
    gossip: Arc<Gossip>,
    heard: watch::Receiver<Arc<Vec<MemberInfo>>>,
    /// Kept also where nothing is ever looked up: whoever waits for news of it must not take its end for news.
    named: watch::Sender<Named>,
    multicast_error: watch::Receiver<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

impl Membership {
    /// Starts to gossip, in the state [`GossipState::Starting`], and all configured discoveries, as part of `life`.
    ///
    /// # Errors
    /// The configuration is impossible, the gossip port cannot be bound, or multicast fails and must not.
    /// Nothing keeps running then.
    pub(crate) async fn start(
        network: Arc<dyn Network>,
        security: Arc<Security>,
        config: MembershipConfig,
        life: Life,
    ) -> io::Result<Self> {
        config.validate()?;
        let (seeds, mut names) = sorted_seeds(&config);
        names.extend(config.dns.iter().cloned());
        let config = Arc::new(config);
        let group = match multicast::open(&*network, &config.multicast).await {
            Err(error) if config.multicast_must => return Err(error),
            opened => opened,
        };
        let socket: Arc<dyn Datagrams> = bind(&*network, config.bind).await?.into();

        let gossip = Arc::new(Gossip::start(socket, Arc::clone(&security), Arc::clone(&config), &seeds).await?);
        let (publish, heard) = watch::channel(Arc::default());
        let named = watch::Sender::new(named::named(&config.seeds, &config.dns));
        let watching = watch_over(Arc::clone(&gossip), config.gossip_interval, publish);
        let mut tasks = vec![spawn(&life, "gossip", watching)];
        let (multicast_failed, multicast_error) = watch::channel(None);
        if !config.multicast.is_empty() {
            let beacons = Beacons::new(Arc::clone(&network), security, Arc::clone(&config), Arc::clone(&gossip));
            tasks.push(spawn(&life, "beacons", beacons.run(group, multicast_failed)));
        }
        if !names.is_empty() {
            let resolution = Resolution { network, config, gossip: Arc::clone(&gossip), named: named.clone() };
            tasks.push(spawn(&life, "names", resolution.run(names)));
        }
        seeds.into_iter().for_each(|seed| gossip.reach(seed));
        let (stop, stopped) = (life.stop().clone(), Arc::clone(&gossip));
        tasks.push(life.spawn("end of gossip", async move {
            // Whatever ends the node, others must not go on hearing it.
            stop.cancelled().await;
            stopped.stop();
        }));
        Ok(Self { gossip, heard, named, multicast_error, tasks: Mutex::new(tasks) })
    }

    /// All other incarnations heard of, dead ones of the last minutes included, sorted by name and incarnation.
    ///
    /// Whoever waits is woken when anything but heartbeats has changed; whoever looks sees the heartbeats of the last tick.
    pub(crate) fn heard(&self) -> watch::Receiver<Arc<Vec<MemberInfo>>> {
        self.heard.clone()
    }

    /// Whom the settings name, and where that is. Whoever waits is woken by each look-up that gave something else.
    pub(crate) fn named(&self) -> watch::Receiver<Named> {
        self.named.subscribe()
    }

    /// Sets the own state and tells every live member at once.
    ///
    /// Telling needs an answer, so a member that stops at the next instruction may not have been heard.
    pub(crate) async fn set_state(&self, state: GossipState) {
        self.gossip.set_state(state).await;
    }

    /// Gossips to this address now.
    pub(crate) async fn introduce(&self, addr: SocketAddr) {
        self.gossip.reach(addr);
    }

    /// Gossip that connections should carry, since datagrams do not arrive there. Given once.
    pub(crate) fn to_carry(&self) -> Option<mpsc::Receiver<Carried>> {
        self.gossip.to_carry()
    }

    /// Where gossip goes that a connection has carried here.
    pub(crate) fn arrivals(&self) -> mpsc::Sender<Carried> {
        self.gossip.arrivals()
    }

    /// Why multicast does not work now although it is configured. It is tried again and again.
    pub(crate) fn multicast_error(&self) -> Option<String> {
        self.multicast_error.borrow().clone()
    }

    /// Ends everything, and waits until the port is free. Others notice by silence.
    pub(crate) async fn close(&self) {
        let tasks: Vec<_> = lock(&self.tasks).drain(..).collect();
        for task in tasks {
            task.abort();
            // It ends by being aborted, which is no news.
            let _ = task.await;
        }
        self.gossip.close().await;
    }

    /// Ends everything; others notice by silence. The port is free a moment later.
    pub(crate) fn stop(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
        self.gossip.stop();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Seeds that are addresses, and those that are names.
fn sorted_seeds(config: &MembershipConfig) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut addrs, mut names) = (Vec::new(), Vec::new());
    for seed in &config.seeds {
        match seed.parse() {
            Ok(addr) if addr == config.advertise || addr == config.bind => {}
            Ok(addr) => addrs.push(addr),
            Err(_) => names.push(seed.clone()),
        }
    }
    (addrs, names)
}

async fn bind(network: &dyn Network, at: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
    let mut attempts = 1;
    loop {
        match network.datagrams(DatagramBind::Unicast(at)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < BIND_ATTEMPTS => {
                attempts += 1;
                sleep(BIND_PAUSE).await;
            }
            bound => return bound,
        }
    }
}

/// Starts a task that goes on until the node stops.
fn spawn(life: &Life, task: &'static str, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let stop = life.stop().clone();
    life.spawn_core(task, async move {
        // In this order, or the task takes the end of the gossip for a failure of it.
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = future => {}
        }
    })
}

/// Publishes what gossip hears, and replaces its server should that end.
async fn watch_over(gossip: Arc<Gossip>, every: Duration, publish: watch::Sender<Arc<Vec<MemberInfo>>>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = gossip.changed() => {}
            () = gossip.ended() => {
                tracing::error!("the gossip server panicked; a new one takes its place");
                if let Err(error) = gossip.restart().await {
                    tracing::error!(%error, "the gossip server could not be restarted yet");
                }
                ticks.tick().await;
            }
        }
        let heard = gossip.heard().await;
        publish.send_if_modified(|last| {
            let modified = !same_but_heartbeats(last, &heard);
            *last = Arc::new(heard);
            modified
        });
    }
}
