//! A node in a process of its own: its start, the connection to it, and its log.
//!
//! `requests`: what a test asks of the node. `signals`: what is done to its process.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde::de::DeserializeOwned;
use sessionmesh::Config;

use super::control::{CONTROL, OUTCOME, Outcome, Request, Start};
use super::{Line, PATIENCE, eventually_blocking, program, tail};

mod requests;
mod signals;

/// What a process writes to its standard error goes into this file.
const LOG: &str = "log";

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
