//! A process with the example application.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sessionmesh::config::ENV_PREFIX;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::process::{PATIENCE, program, tail};

/// The cookie by which the sticky configurations choose the node.
pub(super) const ROUTE_COOKIE: &str = "route";

/// A node with the example application. The process ends with this.
#[derive(Debug)]
pub struct WebNode {
    name: String,
    child: Child,
    log: PathBuf,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl WebNode {
    /// Starts a node of `cluster` that serves visitors at `http`, and waits until it is ready. It logs into `dir`.
    ///
    /// # Panics
    ///
    /// When it ends instead, or takes too long.
    pub async fn start(name: &str, cluster: &str, http: SocketAddr, notice: Duration, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let to_log = File::options().create(true).append(true).open(&log).expect("a file can be made");
        let mut command = Command::new(program("webnode"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(ENV_PREFIX) {
                command.env_remove(variable);
            }
        }
        let set = |key: &str| format!("{ENV_PREFIX}{key}");
        command
            .args(["node", "--until-stdin-closes", "--log", "info", "--notice", &humantime(notice)])
            .env(set("NAME"), name)
            .env(set("CLUSTER"), cluster)
            .env(set("HTTP"), http.to_string())
            .env(set("ROUTE_COOKIE"), ROUTE_COOKIE)
            .env(set("MULTICAST"), "true")
            .env(set("MULTICAST_INTERFACE"), "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(to_log)
            .kill_on_drop(true);
        let mut child = command.spawn().expect("a process can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut node = Self { name: name.to_owned(), child, log, stdout: BufReader::new(stdout).lines() };
        node.ready().await;
        node
    }

    async fn ready(&mut self) {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => assert!(line.contains(" is ready: "), "{} says {line:?}", self.name),
            other => panic!("{} did not become ready ({other:?})\n{}", self.name, self.log()),
        }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells the node to stop, as an operator or Kubernetes does, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it takes too long or says that it could not hand all over.
    pub async fn stop(mut self) {
        let status = self.ended_by(Signal::TERM).await;
        assert_eq!(status.code(), Some(0), "{}: {status}\n{}", self.name, self.log());
    }

    /// Ends the node as a crash would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it had ended already.
    pub async fn kill(mut self) {
        self.ended_by(Signal::KILL).await;
    }

    async fn ended_by(&mut self, signal: Signal) -> ExitStatus {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("{} has ended by itself\n{}", self.name, self.log()));
        kill_process(pid, signal).expect("an own child can be signalled");
        // `Child::wait` would close the node's stdin, and that ends it at once.
        let ended = super::eventually(PATIENCE, async || {
            let status = self.child.try_wait().expect("it is a child of this process");
            status.ok_or_else(|| format!("{} has not ended after {signal:?}", self.name))
        });
        ended.await
    }

    fn log(&self) -> String {
        tail(&self.name, &fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for WebNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn humantime(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
