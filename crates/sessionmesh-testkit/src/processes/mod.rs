//! A cluster of real processes, that can be killed, stopped and restarted.
//!
//! One cluster runs at a time on the whole machine, so that tests that measure do not
//! disturb each other. When a test fails, the end of what each of its nodes logged is printed.

mod cluster;
pub mod control;
pub mod lan;
mod line;
pub mod testnode;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde::de::DeserializeOwned;
use sessionmesh::{Config, SessionId};
use tokio::time::Instant;

pub use self::cluster::Cluster;
pub use self::control::Attributes;
use self::control::{CONTROL, Done, Figures, Loaded, OUTCOME, Outcome, Request, Seen, Start, Wish};
pub use self::line::Line;
pub use crate::cluster::{MODES, unique_name};
pub use crate::waiting::{PATIENCE, SetWhenDropped, Turn, check, eventually_async, eventually_blocking, median};

/// So much of its log is shown of each node when a test fails.
const LOG_LINES_SHOWN: usize = 60;
/// For so long a survivor may be unable to tell, on a machine that is busy with other things.
const UNCLEAR_MAX: Duration = Duration::from_secs(20);

/// A node in a process of its own. The process ends with this.
pub struct Process {
    config: Config,
    child: Child,
    dir: tempfile::TempDir,
    line: RefCell<Option<Line>>,
    expected_to_end: bool,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.config.name)
            .field("pid", &self.child.id())
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a process and waits for nothing.
    ///
    /// # Panics
    ///
    /// When there can be no process.
    #[must_use]
    pub fn spawn(config: Config) -> Self {
        Self::spawn_by(Command::new(program("testnode")), config)
    }

    /// Starts a process in a network namespace.
    ///
    /// # Panics
    ///
    /// When there can be no process.
    #[must_use]
    pub fn spawn_in(namespace: &str, config: Config) -> Self {
        let mut command = Command::new("ip");
        // It runs the program in its own place, so the process keeps its id.
        command.args(["netns", "exec", namespace]).arg(program("testnode"));
        Self::spawn_by(command, config)
    }

    fn spawn_by(mut command: Command, config: Config) -> Self {
        let dir = tempfile::Builder::new().prefix("meshtest-").tempdir().expect("a temporary directory");
        let log = File::create(dir.path().join(LOG)).expect("a file in it");
        let start = Start { config: config.clone(), dir: dir.path().to_owned() };
        let start = serde_json::to_string(&start).expect("a configuration can be JSON");
        let child = command.arg(start).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("a process can be started");
        Self { config, child, dir, line: RefCell::new(None), expected_to_end: false }
    }

    /// Waits until the node runs, or has refused to: then why.
    ///
    /// # Errors
    ///
    /// It refused.
    pub fn outcome(&mut self) -> Result<std::net::SocketAddr, String> {
        let path = self.dir.path().join(OUTCOME);
        let (_, outcome) = eventually_blocking(PATIENCE, || match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).expect("it was written whole")),
            Err(_) => match self.child.try_wait() {
                Ok(None) => Err(format!("node {} has not started", self.config.name)),
                ended => panic!("node {} ended at its start: {ended:?}\n{}", self.config.name, self.log()),
            },
        });
        match outcome {
            Outcome::Started(addr) => {
                self.config.bind.set_port(addr.port());
                Ok(addr)
            }
            Outcome::Refused(why) => {
                self.expected_to_end = true;
                Err(why)
            }
        }
    }

    /// [`Process::outcome`] of a node that must start.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[must_use]
    pub fn started(mut self) -> Self {
        if let Err(why) = self.outcome() {
            panic!("node {} refused to start: {why}", self.config.name);
        }
        self
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What it was started with; once it runs, with the port that it has.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A further connection.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn connect(&self) -> Line {
        let line = Line::connect(&self.dir.path().join(CONTROL));
        line.unwrap_or_else(|error| panic!("no connection to {}: {error}\n{}", self.name(), self.log()))
    }

    /// Asks on this test's own connection.
    ///
    /// # Panics
    ///
    /// When the process is gone, with what it logged.
    pub fn ask<T: DeserializeOwned>(&self, request: &Request) -> T {
        let answer = self.line().ask(request);
        answer.unwrap_or_else(|error| panic!("node {} does not answer: {error}\n{}", self.name(), self.log()))
    }

    fn line(&self) -> RefMut<'_, Line> {
        RefMut::map(self.line.borrow_mut(), |line| line.get_or_insert_with(|| self.connect()))
    }

    /// Waits until the node is ready. Its figures at that moment.
    pub fn ready(&self) -> Figures {
        self.ask(&Request::Ready)
    }

    /// Whether the node is ready.
    pub fn is_ready(&self) -> bool {
        self.ask(&Request::IsReady)
    }

    /// The members that the node sees.
    pub fn members(&self) -> Vec<Seen> {
        self.ask(&Request::Members)
    }

    /// The names of the members that the node sees.
    pub fn member_names(&self) -> Vec<String> {
        self.members().into_iter().map(|seen| seen.name).collect()
    }

    /// The figures of the node.
    pub fn stats(&self) -> Figures {
        self.ask(&Request::Stats)
    }

    /// Creates sessions, and waits until each has its copies.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn create(&self, sessions: Vec<Attributes>, ack: Wish) -> Vec<SessionId> {
        self.copied(self.ask(&Request::Create { sessions, ack }))
    }

    /// Creates one session.
    pub fn create_one(&self, attributes: Attributes) -> SessionId {
        self.create(vec![attributes], Wish::Configured)[0]
    }

    /// Creates sessions with a value of this length.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn fill(&self, sessions: usize, value_bytes: usize) -> Vec<SessionId> {
        self.copied(self.ask(&Request::Fill { sessions, value_bytes }))
    }

    /// The sessions that were changed on this node, once all changes have their copies. One that was not confirmed in time,
    /// as happens on a busy machine, goes on replicating and is waited for.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn copied(&self, done: Vec<Done>) -> Vec<SessionId> {
        if done.iter().any(|done| done.acknowledged().is_none()) {
            eventually_blocking(PATIENCE, || {
                let outbox = self.stats().outbox;
                check(outbox == 0, || format!("{} still has {outbox} sessions to send", self.name()))
            });
        }
        let id = |done| match done {
            Done::Acknowledged(id, _) => id,
            Done::Failed(id, why) if why.ends_with("it continues to replicate") => id,
            failed @ Done::Failed(..) => panic!("not made: {failed:?}"),
        };
        done.into_iter().map(id).collect()
    }

    /// Loads sessions.
    pub fn load(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.ask(&Request::Load(ids.to_vec()))
    }

    /// Loads one session.
    pub fn load_one(&self, id: SessionId) -> Loaded {
        self.load(&[id]).remove(0)
    }

    /// Loads sessions until each is what it should be, and says how many were not at the first try. "Cannot tell" is
    /// asked again, for `UNCLEAR_MAX`; any other answer is wrong at once.
    ///
    /// # Panics
    ///
    /// When an answer is wrong, or it still cannot tell.
    #[track_caller]
    pub fn serves(&self, ids: &[SessionId], expected: &[Loaded]) -> usize {
        let start = Instant::now();
        let mut left: Vec<usize> = (0..ids.len()).collect();
        let mut unclear_at_first = None;
        while !left.is_empty() {
            let asked: Vec<SessionId> = left.iter().map(|at| ids[*at]).collect();
            let loaded = self.load(&asked);
            let pairs = || left.iter().copied().zip(&loaded);
            let is_wrong =
                |(at, loaded): &(usize, &Loaded)| **loaded != expected[*at] && !matches!(loaded, Loaded::CannotTell(_));
            let wrong: Vec<_> = pairs().filter(is_wrong).collect();
            assert!(wrong.is_empty(), "{} serves {} wrongly, first {:?}", self.name(), wrong.len(), wrong.first());
            let unclear: Vec<_> = pairs().filter(|(at, loaded)| **loaded != expected[*at]).collect();
            let late = start.elapsed() > UNCLEAR_MAX;
            assert!(unclear.is_empty() || !late, "{} cannot tell of {}: {:?}", self.name(), unclear.len(), unclear[0]);
            let unclear: Vec<usize> = unclear.into_iter().map(|(at, _)| at).collect();
            unclear_at_first.get_or_insert(unclear.len());
            left = unclear;
        }
        unclear_at_first.unwrap_or_default()
    }

    /// The owners of each session, the primary first.
    pub fn owners(&self, ids: &[SessionId]) -> Vec<Vec<String>> {
        self.ask(&Request::Owners(ids.to_vec()))
    }

    /// The digest of what is held of each session.
    pub fn digests(&self, ids: &[SessionId]) -> Vec<Option<u64>> {
        self.ask(&Request::Digests(ids.to_vec()))
    }

    /// Whether the node reads this session from its own map.
    pub fn reads_at_home(&self, id: SessionId) -> bool {
        let before = self.stats().local_reads;
        self.load_one(id);
        self.stats().local_reads > before
    }

    /// Kills the process, as `kill -9` does, and waits for its end. When the signal was sent.
    ///
    /// # Panics
    ///
    /// When it had ended already.
    pub fn kill(&mut self) -> Instant {
        self.assert_running();
        self.expected_to_end = true;
        let at = Instant::now();
        self.signal(Signal::KILL);
        self.child.wait().expect("it is a child of this process");
        at
    }

    /// Stops the process from running, as a stalled machine does.
    pub fn freeze(&mut self) -> Instant {
        self.assert_running();
        self.signal(Signal::STOP);
        Instant::now()
    }

    /// Lets a frozen process run again.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Lets the process open no more files: as if it had used up all that it may. Those that are open stay open.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn take_descriptors(&self) {
        self.limit_descriptors(Rlimit { current: Some(0), ..getrlimit(Resource::Nofile) });
    }

    /// Lets the process open as many files again as this one may.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn give_descriptors(&self) {
        self.limit_descriptors(getrlimit(Resource::Nofile));
    }

    fn limit_descriptors(&self, limit: Rlimit) {
        prlimit(Some(pid(self.child.id())), Resource::Nofile, limit).expect("an own child can be limited");
    }

    fn signal(&self, name: Signal) {
        signal(self.child.id(), name);
    }

    /// Fails the test if the process has ended.
    ///
    /// # Panics
    ///
    /// If it has.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it is a child of this process") {
            panic!("node {} has ended: {status}\n{}", self.name(), self.log());
        }
    }

    /// The end of what the process logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default();
        tail(&format!("{} (pid {})", self.name(), self.child.id()), &log)
    }
}

/// What a process writes to its standard error goes into this file.
const LOG: &str = "log";

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        if thread::panicking() {
            eprintln!("{}", self.log());
            if let (Ok(Some(status)), false) = (&ended, self.expected_to_end) {
                eprintln!("node {} had ended by itself: {status}", self.name());
            }
        }
        // No error is of interest: it may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: u32) -> Pid {
    i32::try_from(child).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: u32, name: Signal) {
    kill_process(pid(child), name).expect("an own child can be signalled");
}

/// A program of the package whose test this is. Tests are programs in `target/*/deps`, beside which cargo puts the programs of the package.
///
/// # Panics
///
/// When this program is none of cargo's.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let programs = test.parent().and_then(std::path::Path::parent).expect("cargo puts tests into a folder of its own");
    programs.join(name)
}

/// The end of what `who` logged, for a test that fails.
pub(crate) fn tail(who: &str, log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    format!("--- {who} logged:\n{}\n", shown.join("\n"))
}

/// Pairs of keys and values as attributes.
#[must_use]
pub fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Attributes {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
