//! Node processes of one cluster.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::ops::{Index, IndexMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh::{Config, Mode, Secret, SessionId};
use tokio::time::Instant;

use super::{PATIENCE, Process, Turn, check, eventually_blocking, unique_name};

/// A file with a cluster secret, one for all tests of this machine. Settings reach a process without secrets.
///
/// # Panics
///
/// It cannot be made.
#[must_use]
pub fn secret_file() -> PathBuf {
    let path = std::env::temp_dir().join("sessionmesh-tests-secret");
    if !path.exists() {
        // Nobody else can read what this makes.
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        writeln!(file, "{}", *Secret::generate().to_text()).expect("it can be written");
        // Another test may have made it meanwhile.
        let _ = file.persist_noclobber(&path);
    }
    path
}

/// Node processes of one cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Process>,
    config: Config,
    turn: Arc<Turn>,
}

impl Cluster {
    /// Starts these nodes at once and waits until they are ready and of one view. They find each other by multicast
    /// on loopback.
    #[must_use]
    pub fn start(names: &[&str], mode: Mode) -> Self {
        Self::start_with(names, |config| config.mode = mode)
    }

    /// Like [`Cluster::start`], with other settings.
    #[must_use]
    pub fn start_with(names: &[&str], set: impl FnOnce(&mut Config)) -> Self {
        let mut cluster = Self::empty(set);
        for name in names {
            let config = cluster.config_of(name);
            cluster.nodes.push(Process::spawn(config));
        }
        cluster.nodes = cluster.nodes.drain(..).map(Process::started).collect();
        cluster.settled();
        cluster
    }

    /// A cluster without nodes.
    #[must_use]
    pub fn empty(set: impl FnOnce(&mut Config)) -> Self {
        Self::in_turn(Arc::new(Turn::wait()), set)
    }

    /// A second cluster, without nodes, at the same time as this one.
    #[must_use]
    pub fn beside(&self, set: impl FnOnce(&mut Config)) -> Self {
        Self::in_turn(self.turn.clone(), set)
    }

    fn in_turn(turn: Arc<Turn>, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.cluster = unique_name();
        config.multicast = Some(true);
        config.multicast_interface = Ipv4Addr::LOCALHOST;
        config.secret_file = crate::cluster::has_secret().then(secret_file);
        set(&mut config);
        Self { nodes: Vec::new(), config, turn }
    }

    /// The settings of a new node of this name: any free port.
    #[must_use]
    pub fn config_of(&self, name: &str) -> Config {
        let mut config = self.config.clone();
        name.clone_into(&mut config.name);
        config
    }

    /// Starts one more node and waits until it runs, not until it is ready.
    pub fn launch(&mut self, name: &str) -> &Process {
        let config = self.config_of(name);
        self.add(Process::spawn(config).started())
    }

    /// Takes in a process that was started by the test itself.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn add(&mut self, process: Process) -> &Process {
        self.nodes.push(process);
        self.nodes.last().expect("one was just added")
    }

    /// Takes a process out.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    pub fn take(&mut self, name: &str) -> Process {
        let at = self.nodes.iter().position(|node| node.name() == name).expect("a node of this name runs");
        self.nodes.remove(at)
    }

    /// Kills a node and forgets it. When the signal was sent.
    pub fn kill(&mut self, name: &str) -> Instant {
        self.take(name).kill()
    }

    /// The processes.
    #[must_use]
    pub fn nodes(&self) -> &[Process] {
        &self.nodes
    }

    /// Waits until all nodes are ready, see each other as that, wait for nobody, and owe each other nothing. How long
    /// that took.
    pub fn settled(&self) -> Duration {
        let names: BTreeSet<&str> = self.nodes.iter().map(Process::name).collect();
        let (took, ()) = eventually_blocking(PATIENCE, || {
            let mut views = BTreeSet::new();
            for node in &self.nodes {
                let members = node.members();
                check(members.iter().map(|seen| seen.name.as_str()).collect::<BTreeSet<_>>() == names, || {
                    format!("{} sees {members:?}", node.name())
                })?;
                check(members.iter().all(|seen| seen.state == "Ready") && node.is_ready(), || {
                    format!("{} sees {members:?}", node.name())
                })?;
                let figures = node.stats();
                check(figures.outbox == 0 && figures.suspected.is_empty(), || format!("{}: {figures:?}", node.name()))?;
                views.insert(members);
            }
            check(views.len() <= 1, || format!("different views: {views:?}"))
        });
        took
    }

    /// Waits until each session is held by its owners, all of them with the same digest, and by nobody else. How long
    /// that took.
    pub fn placed(&self, ids: &[SessionId]) -> Duration {
        let (took, ()) = eventually_blocking(PATIENCE, || self.is_placed(ids));
        took
    }

    /// Whether each session is held by its owners, all of them with the same digest, and by nobody else.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn is_placed(&self, ids: &[SessionId]) -> Result<(), String> {
        let owners = self.nodes[0].owners(ids);
        let held: Vec<_> = self.nodes.iter().map(|node| (node.name(), node.digests(ids))).collect();
        for node in &self.nodes[1..] {
            check(node.owners(ids) == owners, || "the nodes name different owners".to_owned())?;
        }
        let (mut wrong, mut first) = (0, None);
        for (at, owners) in owners.iter().enumerate() {
            let digests: BTreeSet<_> =
                held.iter().filter(|(_, digests)| digests[at].is_some()).map(|(name, _)| *name).collect();
            let equal: BTreeSet<_> = held.iter().filter_map(|(_, digests)| digests[at]).collect();
            let owners: BTreeSet<_> = owners.iter().map(String::as_str).collect();
            if digests != owners || equal.len() != 1 {
                wrong += 1;
                let here = || {
                    format!(
                        "number {at} ({:?}): owners {owners:?}, held by {digests:?} with {} digests",
                        ids[at],
                        equal.len()
                    )
                };
                first.get_or_insert_with(here);
            }
        }
        check(wrong == 0, || format!("{wrong} sessions are not where they belong; {}", first.unwrap_or_default()))
    }
}

impl Index<&str> for Cluster {
    type Output = Process;

    fn index(&self, name: &str) -> &Process {
        self.nodes.iter().find(|node| node.name() == name).expect("a node of this name runs")
    }
}

impl IndexMut<&str> for Cluster {
    fn index_mut(&mut self, name: &str) -> &mut Process {
        self.nodes.iter_mut().find(|node| node.name() == name).expect("a node of this name runs")
    }
}
