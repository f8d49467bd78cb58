//! Looking for the nodes that the settings name: is somebody there, though gossip hears nobody?
//!
//! While a node sees no other one, or joins and sees none that has joined, it asks each address that is named, over TCP, who is
//! there. Only nodes that know that nobody else is there may take themselves for the first ones of their cluster; one that is
//! alone says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use sessionmesh_core::wire::message::Refused;
use sessionmesh_core::wire::version::Versions;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::alone::{Alone, Outcome, Tried};
use crate::engine::link::handshake::{RefusedBy, ask_who_is_at, refused_by};
use crate::engine::state::node::Node;
use crate::error::Failure;
use crate::event::Event;
use crate::membership::{LookedUp, Membership, Named};
use crate::security::links::refusal;

/// A starting node takes itself for alone after this time at the latest, whoever has not answered. Longer than a look-up
/// of which two packets were lost, and than a firewall's silence is worth.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// One attempt to connect and to hear who is there. Long enough for a lost packet to be sent again.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
/// Addresses that are asked at the same time.
const ATTEMPTS_MAX: usize = 32;
/// Between two rounds of attempts: while this node is not ready, and afterwards.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// How often a node that is alone says so.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// What was found at the addresses that are named. Shared by the task that asks and by all who want to know.
#[derive(Debug)]
pub(crate) struct Search {
    membership: Arc<Membership>,
    began: Instant,
    /// When every name had been looked up once.
    looked_up: OnceLock<Instant>,
    found: watch::Sender<Found>,
}

/// The answers of the addresses that are named.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    at: BTreeMap<SocketAddr, Outcome>,
    /// Since when no other node is seen.
    alone: Option<Instant>,
}

impl Search {
    /// Of a node that starts now.
    pub(crate) fn new(membership: Arc<Membership>) -> Self {
        let began = Instant::now();
        let found = Found { alone: Some(began), ..Found::default() };
        Self { membership, began, looked_up: OnceLock::new(), found: watch::Sender::new(found) }
    }

    /// Wakes whoever waits when something else was found.
    pub(crate) fn changes(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }

    /// When a starting node that hears nobody may take itself for alone, as far as can be told now: `window` after every
    /// name was looked up, but later while somebody who is named may still answer. To be asked again when what is named or
    /// what was found changes.
    pub(crate) fn closes(&self, window: Duration) -> Instant {
        let named = self.membership.named();
        let named = named.borrow();
        let latest = self.began + window.max(ANSWER_MAX);
        if named.values().any(|looked_up| *looked_up == LookedUp::Pending) {
            return latest;
        }
        let quiet = *self.looked_up.get_or_init(Instant::now) + window;
        let unanswered = tried(&named, &self.found.borrow()).any(|tried| !tried.outcome.is_nobody());
        if unanswered { quiet.max(latest) } else { quiet }
    }

    /// Whether a node of this cluster answered over TCP when this one saw nobody. One that still sees nobody is cut off
    /// from gossip, and must not take itself for alone.
    pub(crate) fn somebody_answers(&self) -> bool {
        self.found.borrow().at.values().any(|outcome| matches!(outcome, Outcome::Member(_)))
    }

    /// Whether this node and all that it sees only join, and somebody else answers over TCP who may have what they look for: a
    /// member of which gossip does not tell yet.
    pub(crate) fn misses_somebody(&self, node: &Node) -> bool {
        let topology = node.cluster.topology.load();
        let is_seen = |name: &str| topology.view.members().iter().any(|member| *member.name == *name);
        let missed = |outcome: &Outcome| matches!(outcome, Outcome::Member(name) if !is_seen(name));
        topology.all_join() && self.found.borrow().at.values().any(missed)
    }

    /// What keeps a node from going on alone of which only nodes with other versions have heard, over TCP.
    pub(crate) fn other_version(&self, node: &Node) -> Option<Failure> {
        if self.somebody_answers() {
            return None;
        }
        let ours = node.identity.versions;
        self.found.borrow().at.iter().find_map(|(addr, outcome)| match outcome {
            Outcome::OtherVersion { theirs, .. } => Some(Failure::OtherVersion { addr: *addr, theirs: *theirs, ours }),
            _ => None,
        })
    }

    /// What to tell of a node that is alone though others are named.
    pub(crate) fn alone(&self, node: &Node) -> Option<Alone> {
        if self.has_company(node) {
            return None;
        }
        let named = self.membership.named();
        let found = self.found.borrow();
        let multicast = self.membership.multicast_error().map(|why| Tried {
            name: "multicast".to_owned(),
            addr: None,
            outcome: Outcome::NoMulticast(why),
        });
        let tried: Vec<_> = tried(&named.borrow(), &found).chain(multicast).collect();
        let lasts = found.alone.map_or(Duration::ZERO, |since| since.elapsed());
        (!tried.is_empty()).then_some(Alone { lasts, tried })
    }

    /// Asks until the node stops.
    pub(crate) async fn run(self: Arc<Self>, node: Arc<Node>) {
        let mut named = self.membership.named();
        let asking = async {
            loop {
                let mut addrs: BTreeSet<_> = addresses(&named.borrow_and_update()).map(|(_, addr)| addr).collect();
                let alone = !self.has_company(&node);
                if !alone && !node.cluster.topology.load().all_join() {
                    addrs.clear();
                }
                self.found.send_if_modified(|found| found.note(alone, &addrs));
                self.ask_all(&node, addrs).await;
                let pause = {
                    let topology = node.cluster.topology.load();
                    PAUSES[usize::from(!topology.is_joining(topology.me))]
                };
                // A name that is looked up is news, and so is the loss of all company.
                tokio::select! {
                    biased;
                    changed = named.changed() => if changed.is_err() { return },
                    () = sleep(pause) => {}
                }
            }
        };
        node.lifecycle.stop.run_until_cancelled(asking).await;
    }

    fn has_company(&self, node: &Node) -> bool {
        let heard = self.membership.heard();
        let heard = heard.borrow();
        let is_there = |heard: &crate::membership::MemberInfo| {
            let understood = node.identity.versions.understand(heard.versions);
            *heard.name != *node.config.name && heard.is_there() && understood
        };
        node.cluster.topology.load().peers().next().is_some() || heard.iter().any(is_there)
    }

    /// Asks every address that is named, side by side, and notes each answer as it comes.
    async fn ask_all(&self, node: &Node, addrs: BTreeSet<SocketAddr>) {
        let asked = addrs.into_iter().map(|addr| async move { (addr, ask(node, addr).await) });
        let mut answers = stream::iter(asked).buffer_unordered(ATTEMPTS_MAX);
        while let Some((addr, outcome)) = answers.next().await {
            if let Outcome::Member(_) = outcome {
                self.membership.introduce(addr).await;
            }
            self.found.send_if_modified(|found| found.at.insert(addr, outcome.clone()).as_ref() != Some(&outcome));
        }
    }

    /// Says that the node is alone, when it begins, once a minute, and when it is over. Runs until the node stops.
    pub(crate) async fn report(self: Arc<Self>, node: Arc<Node>) {
        let telling = async {
            let mut changes = self.found.subscribe();
            let mut said: Option<Instant> = None;
            loop {
                match self.alone(&node) {
                    Some(alone) if said.is_none_or(|at| at.elapsed() >= SAID_AGAIN) => {
                        said = Some(Instant::now());
                        let (cut_off, tried) = (self.somebody_answers(), alone.to_string());
                        node.emit(Event::Alone { cut_off, lasts: alone.lasts, tried });
                    }
                    None if said.take().is_some() => node.emit(Event::NotAlone),
                    _ => {}
                }
                let _ = timeout(SAID_AGAIN, changes.changed()).await;
            }
        };
        node.lifecycle.stop.run_until_cancelled(telling).await;
    }
}

impl Found {
    /// Notes whether the node is alone, and forgets who is not asked any more. Whether that made a difference.
    fn note(&mut self, alone: bool, asked: &BTreeSet<SocketAddr>) -> bool {
        let before = (self.alone, self.at.len());
        self.alone = alone.then(|| self.alone.unwrap_or_else(Instant::now));
        self.at.retain(|addr, _| asked.contains(addr));
        before != (self.alone, self.at.len())
    }
}

/// The addresses that are named, each with its name; one may come several times.
fn addresses(named: &Named) -> impl Iterator<Item = (&String, SocketAddr)> {
    named.iter().flat_map(|(name, looked_up)| {
        let addrs: &[_] = match looked_up {
            LookedUp::At(addrs) => addrs,
            LookedUp::Pending | LookedUp::Failed(_) => &[],
        };
        addrs.iter().map(move |addr| (name, *addr))
    })
}

fn tried(named: &Named, found: &Found) -> impl Iterator<Item = Tried> {
    let looked_up = addresses(named).map(|(name, addr)| {
        let outcome = found.at.get(&addr).cloned().unwrap_or(Outcome::Pending);
        Tried { name: name.clone(), addr: Some(addr), outcome }
    });
    let not_found = named.iter().filter_map(|(name, looked_up)| {
        let outcome = match looked_up {
            LookedUp::Pending => Outcome::Pending,
            LookedUp::Failed(why) => Outcome::NotFound(why.clone()),
            LookedUp::At(_) => return None,
        };
        Some(Tried { name: name.clone(), addr: None, outcome })
    });
    looked_up.chain(not_found)
}

/// Who is at this address.
async fn ask(node: &Node, addr: SocketAddr) -> Outcome {
    if addr == node.identity.advertise {
        return Outcome::Itself;
    }
    let greeted = async { Ok(ask_who_is_at(node, addr).await?.1) };
    match timeout(ATTEMPT_MAX, greeted).await {
        Ok(Ok(greeted)) if greeted.name != node.config.name => Outcome::Member(greeted.name),
        Ok(Ok(greeted)) if greeted.incarnation == node.identity.incarnation => Outcome::Itself,
        Ok(Ok(_)) => Outcome::SameName,
        Ok(Err(error)) => failed(&error, node.identity.versions),
        Err(_) => Outcome::Silent(format!("none within {}", humantime::format_duration(ATTEMPT_MAX))),
    }
}

fn failed(error: &io::Error, ours: Versions) -> Outcome {
    if let Some(refusal) = refusal(error) {
        return Outcome::NotTrusted(refusal.to_string());
    }
    match (refused_by(error), error.kind()) {
        (Some(RefusedBy { why: Refused::Cluster, .. }), _) => Outcome::AnotherCluster,
        (Some(RefusedBy { why: Refused::Version { min, max }, .. }), _) => {
            Outcome::OtherVersion { theirs: Versions::new(*min, *max), ours }
        }
        (Some(other), _) => Outcome::Incompatible(other.to_string()),
        (None, io::ErrorKind::ConnectionRefused) => Outcome::Refused,
        (None, io::ErrorKind::InvalidData | io::ErrorKind::Other) => Outcome::Stranger,
        (None, _) => Outcome::Silent(error.to_string()),
    }
}
