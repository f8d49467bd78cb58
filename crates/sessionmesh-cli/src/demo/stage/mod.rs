//! The page of the demo: the page of a node, with buttons that kill, freeze, cut off, drain and start nodes, and with visitors.

mod load;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, interval};

pub(crate) use self::load::Load;
use super::child::Node;
use super::cluster::Cluster;
use crate::failure::Failure;
use crate::node::ReadyLine;

/// Time between two looks at whether all nodes still run.
const LOOK: Duration = Duration::from_millis(200);
/// So many wishes may wait; pages send one at a time.
const ACTS_MAX: usize = 64;

/// What a button does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// SIGKILL, as in a crash.
    Kill,
    /// SIGSTOP: it stands still.
    Freeze,
    /// SIGCONT: it goes on.
    Thaw,
    /// No other node reaches it, and it reaches none.
    Cut,
    /// They reach each other again.
    Heal,
    /// SIGTERM: it hands over and stops.
    Drain,
    /// It is started again, with its name and its addresses.
    Start,
}

/// What a node of the demo is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Frozen,
    Cut,
    Draining,
    Starting,
    Dead,
}

/// What a page wishes.
#[derive(Debug)]
struct Act {
    node: String,
    what: What,
    done: oneshot::Sender<Result<(), String>>,
}

/// A node, or the place of one that has ended.
#[derive(Debug)]
struct Place {
    ready: ReadyLine,
    node: Option<Node>,
    state: State,
}

/// What pages show of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Shown {
    name: String,
    state: State,
    pid: Option<u32>,
    http: SocketAddr,
    #[serde(skip)]
    admin: Option<SocketAddr>,
}

/// The nodes of the demo, and what pages wish of them.
pub(crate) struct Stage {
    places: Vec<Place>,
    acts: mpsc::Receiver<Act>,
    shown: watch::Sender<Vec<Shown>>,
    load: Arc<Load>,
    at: SocketAddr,
}

impl Stage {
    /// Takes over the nodes, and serves the page.
    ///
    /// # Errors
    ///
    /// No port can be had for it.
    pub(crate) async fn open(cluster: &mut Cluster, at: SocketAddr, rate: u32) -> Result<Self, Failure> {
        let places: Vec<Place> = std::mem::take(&mut cluster.nodes)
            .into_iter()
            .map(|node| Place { ready: node.ready.clone(), node: Some(node), state: State::Running })
            .collect();
        let (wish, acts) = mpsc::channel(ACTS_MAX);
        let (shown, _) = watch::channel(places.iter().map(Place::shown).collect());
        let load = Arc::new(Load::new(rate));
        let at = serve::serve(at, wish, shown.subscribe(), load.clone()).await.map_err(|error| {
            Failure::Refused(format!("cannot serve the page at {at}: {error}; choose another --page"))
        })?;
        tokio::spawn(load::run(load.clone(), shown.subscribe()));
        Ok(Self { places, acts, shown, load, at })
    }

    /// Where the page is.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// The visitors.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Does what pages wish. Never ends.
    pub(crate) async fn run(&mut self, cluster: &Cluster) {
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                Some(act) = self.acts.recv() => {
                    let done = self.act(cluster, &act.node, act.what).await;
                    // The page may be gone.
                    let _ = act.done.send(done);
                }
                _ = looks.tick() => {}
            }
            self.look().await;
        }
    }

    /// Ends all nodes.
    pub(crate) async fn end(&mut self) {
        for place in &mut self.places {
            if let Some(mut node) = place.node.take()
                && let Err(error) = node.kill().await
            {
                tracing::warn!(%error, "a node may be left running");
            }
        }
    }

    async fn act(&mut self, cluster: &Cluster, name: &str, what: What) -> Result<(), String> {
        let others: Vec<SocketAddr> = self
            .places
            .iter()
            .filter(|place| place.node.is_some() && place.ready.name != name)
            .map(|place| place.ready.replication)
            .collect();
        let place = self.places.iter_mut().find(|place| place.ready.name == name);
        let place = place.ok_or_else(|| format!("there is no node called {name}"))?;
        if what == What::Start {
            if place.node.is_some() {
                return Err(format!("{name} runs"));
            }
            place.state = State::Starting;
            let shown: Vec<Shown> = self.places.iter().map(Place::shown).collect();
            self.shown.send_replace(shown);
            let place = self.places.iter_mut().find(|place| place.ready.name == name).ok_or("it is gone")?;
            let started = cluster.start_again(&place.ready, &others).await;
            place.state = if started.is_ok() { State::Running } else { State::Dead };
            let node = started?;
            place.ready = node.ready.clone();
            place.node = Some(node);
            return Ok(());
        }
        let node = place.node.as_mut().ok_or_else(|| format!("{name} has ended; start it again"))?;
        place.state = match what {
            What::Kill => {
                node.kill().await?;
                place.node = None;
                State::Dead
            }
            What::Freeze => signalled(node, Signal::Stop, State::Frozen)?,
            What::Thaw => signalled(node, Signal::Cont, State::Running)?,
            What::Drain => signalled(node, Signal::Term, State::Draining)?,
            What::Cut => node.pull(true).await.map(|()| State::Cut)?,
            What::Heal | What::Start => node.pull(false).await.map(|()| State::Running)?,
        };
        Ok(())
    }

    /// Notes who has ended, and tells pages what has changed.
    async fn look(&mut self) {
        for place in &mut self.places {
            if let Some(node) = &mut place.node
                && let Some(how) = node.ended().await
            {
                if place.state != State::Draining {
                    anstream::println!("{how}");
                }
                place.node = None;
                place.state = State::Dead;
            }
        }
        let shown: Vec<Shown> = self.places.iter().map(Place::shown).collect();
        self.shown.send_if_modified(|before| {
            let changed = *before != shown;
            *before = shown;
            changed
        });
    }
}

impl Place {
    fn shown(&self) -> Shown {
        Shown {
            name: self.ready.name.clone(),
            state: self.state,
            pid: self.node.as_ref().and_then(Node::pid),
            http: self.ready.http,
            admin: self.node.as_ref().and(self.ready.admin),
        }
    }
}

/// The signals that buttons send.
#[derive(Clone, Copy, Debug)]
enum Signal {
    Stop,
    Cont,
    Term,
}

#[cfg(unix)]
fn signalled(node: &Node, signal: Signal, then: State) -> Result<State, String> {
    use rustix::process::Signal as Real;
    let real = match signal {
        Signal::Stop => Real::STOP,
        Signal::Cont => Real::CONT,
        Signal::Term => Real::TERM,
    };
    node.signal(real).map(|()| then)
}

#[cfg(not(unix))]
fn signalled(_: &Node, signal: Signal, _: State) -> Result<State, String> {
    Err(format!("this system has no signal for that ({signal:?})"))
}
