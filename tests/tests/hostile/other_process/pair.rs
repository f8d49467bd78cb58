//! Two nodes in processes of their own, with a relay between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sessionmesh::{Config, Mode, SessionId};
use sessionmesh_testkit::processes::control::{Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{Cluster, PATIENCE, Process, attributes, check, eventually_blocking};
use sessionmesh_testkit::waiting::Turn;
use tokio::sync::MutexGuard;

use super::alone::SecretFile;
use super::relay::{Plan, Relay};

pub(crate) const NAMES: [&str; 2] = ["a", "b"];
/// So often a value says its number, so that one that was changed says two.
const REPEATED: usize = 8;

/// Both have all sessions.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    pub(crate) relay: Relay,
    /// Some that `a` writes, and some that `b` writes.
    pub(crate) ids: [Vec<SessionId>; 2],
    /// The number that was written last.
    pub(crate) written: usize,
    _secret: SecretFile,
    _turn: MutexGuard<'static, ()>,
}

impl Pair {
    pub(crate) async fn start(plan: Arc<Mutex<dyn Plan>>) -> Self {
        let (turn, secret) = (Turn::in_this_process().await, SecretFile::new());
        let relay = Relay::start(plan).await;
        let mut cluster = Cluster::empty(|config: &mut Config| {
            config.mode = Mode::PrimaryBackup { backups: 1 };
            config.multicast = Some(false);
            config.secret_file = Some(secret.path().to_owned());
        });
        let starting: Vec<Process> = (0..2).map(|node| Process::spawn(config(&cluster, &relay, node))).collect();
        for process in starting {
            cluster.add(process.started());
        }
        cluster.settled();
        let ids = NAMES.map(|name| cluster[name].create(vec![attributes([("user", "ada")]); 3], Wish::Configured));
        Self { cluster, relay, ids, written: 0, _secret: secret, _turn: turn }
    }

    /// What this node is started with.
    pub(crate) fn config_of(&self, node: usize) -> Config {
        config(&self.cluster, &self.relay, node)
    }

    /// Writes the next number into all sessions, and waits for no copy. How many were written: a node that hears of the other one
    /// too seldom may be unable to tell whether it has the latest of a session.
    pub(crate) fn write(&mut self) -> usize {
        self.written += 1;
        let value = attributes([("number", &number(self.written))]);
        let mut done = Vec::new();
        for (name, ids) in NAMES.into_iter().zip(&self.ids) {
            let writes = ids.iter().map(|id| (*id, value.clone())).collect();
            done.extend(self.cluster[name].ask::<Vec<Done>>(&Request::Write { writes, ack: Wish::Local }));
        }
        done.iter().filter(|done| done.acknowledged().is_some()).count()
    }

    /// Each node holds of each session what was written to it once, or cannot tell. How many had the number that was written
    /// last.
    pub(crate) fn holds_only_what_was_written(&self) -> usize {
        let mut latest = 0;
        for name in NAMES {
            for id in self.ids.iter().flatten() {
                match self.cluster[name].load_one(*id) {
                    Loaded::Session(found) => latest += usize::from(self.number_in(&found) == self.written),
                    Loaded::CannotTell(_) => {}
                    Loaded::None => panic!("{name} has lost {id:?}"),
                }
            }
        }
        latest
    }

    /// The number in a session, which is nothing but what was written.
    fn number_in(&self, found: &BTreeMap<String, String>) -> usize {
        let mut left = found.clone();
        assert_eq!(left.remove("user").as_deref(), Some("ada"), "{found:?}");
        let Some(value) = left.remove("number") else { return 0 };
        let written: usize = value[..8].parse().unwrap_or_else(|_| panic!("{found:?}"));
        assert!(value == number(written) && written <= self.written && left.is_empty(), "{found:?}");
        written
    }

    /// Both settle and write, and then hold the same of each session: what was written last.
    pub(crate) fn is_well(&mut self) {
        self.cluster.settled();
        let all: Vec<SessionId> = self.ids.iter().flatten().copied().collect();
        eventually_blocking(PATIENCE, || check(self.write() == all.len(), || "not all are written".to_owned()));
        self.cluster.settled();
        self.cluster.placed(&all);
        assert_eq!(self.holds_only_what_was_written(), 2 * all.len());
    }
}

fn number(number: usize) -> String {
    format!("{number:08}").repeat(REPEATED)
}

fn config(cluster: &Cluster, relay: &Relay, node: usize) -> Config {
    let mut config = cluster.config_of(NAMES[node]);
    config.bind = relay.nodes()[node];
    config.advertise = Some(relay.fronts()[node]);
    config.seeds = vec![relay.fronts()[1 - node].to_string()];
    config
}
