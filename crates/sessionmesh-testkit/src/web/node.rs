//! A process with the example application.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hyper::StatusCode;
use rustix::process::Signal;
use sessionmesh::config::ENV_PREFIX;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::Visitor;
use crate::browser::Answer;
use crate::processes::{program, signal, tail};
use crate::site::ROUTE;
use crate::waiting::{PATIENCE, eventually_async};

/// A node with the example application. The process ends with this.
#[derive(Debug)]
pub struct WebNode {
    name: String,
    child: Child,
    log: PathBuf,
    stdout: Lines<BufReader<ChildStdout>>,
    http: SocketAddr,
    replication: SocketAddr,
}

/// How a node is started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The node's name.
    pub name: &'a str,
    /// Of which cluster it is.
    pub cluster: &'a str,
    /// Where it serves visitors; any free port by default.
    pub http: SocketAddr,
    /// How long it gives notice before it stops; none by default.
    pub notice: Duration,
    /// Where files are.
    pub dir: &'a Path,
    /// What it logs; `info` by default.
    pub level: &'a str,
    /// Where it logs to; a file in `dir` by default.
    pub stderr: Option<Stdio>,
    /// What a shell does before it becomes the node, for example `ulimit -n 64`.
    pub before: &'a str,
    /// Settings beside these, by their names, such as `secret_file`; none by default.
    pub settings: Vec<(&'a str, String)>,
}

impl<'a> Launch<'a> {
    /// With all defaults.
    #[must_use]
    pub fn new(name: &'a str, cluster: &'a str, dir: &'a Path) -> Self {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            name,
            cluster,
            http,
            notice: Duration::ZERO,
            dir,
            level: "info",
            stderr: None,
            before: ":",
            settings: Vec::new(),
        }
    }

    fn command(self) -> (Command, PathBuf) {
        let log = self.dir.join(format!("{}.log", self.name));
        let to_log = File::options().create(true).append(true).open(&log).expect("a file can be made");
        let mut command = Command::new("sh");
        // The node takes the place of the shell, so the process keeps its id.
        command.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.before)]).arg(program("webnode"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(ENV_PREFIX) {
                command.env_remove(variable);
            }
        }
        let set = |key: &str| format!("{ENV_PREFIX}{key}");
        command
            .args(["node", "--until-stdin-closes", "--log", self.level, "--notice", &humantime(self.notice)])
            .env(set("NAME"), self.name)
            .env(set("CLUSTER"), self.cluster)
            .env(set("HTTP"), self.http.to_string())
            .env(set("ROUTE_COOKIE"), ROUTE)
            .env(set("MULTICAST"), "true")
            .env(set("MULTICAST_INTERFACE"), "127.0.0.1")
            .envs(self.settings.iter().map(|(key, value)| (set(&key.to_uppercase()), value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(self.stderr.unwrap_or_else(|| to_log.into()))
            .kill_on_drop(true);
        (command, log)
    }
}

impl WebNode {
    /// Starts a node, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it ends instead, or takes too long.
    pub async fn start(launch: Launch<'_>) -> Self {
        let (name, http) = (launch.name.to_owned(), launch.http);
        let (mut command, log) = launch.command();
        let mut child = command.spawn().expect("a process can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut node = Self { name, child, log, stdout: BufReader::new(stdout).lines(), http, replication: http };
        node.ready().await;
        node
    }

    async fn ready(&mut self) {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        let addrs = match &line {
            Ok(Ok(Some(line))) => line.split_once(" is ready: http://"),
            _ => panic!("{} did not become ready ({line:?})\n{}", self.name, self.log()),
        };
        let addrs = addrs.and_then(|(_, addrs)| addrs.split_once(", replication "));
        let addrs = addrs.and_then(|(http, replication)| Some((http.parse().ok()?, replication.parse().ok()?)));
        (self.http, self.replication) = addrs.unwrap_or_else(|| panic!("{} says {line:?}", self.name));
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// When it has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended by itself\n{}", self.name, self.log()))
    }

    /// Where it serves visitors.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where other nodes reach it.
    #[must_use]
    pub const fn replication(&self) -> SocketAddr {
        self.replication
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it is well and sees so many members, itself among them. What it says of its health then.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn sees(&self, members: usize) -> Answer {
        let mut operator = Visitor::new(self.http, "an operator");
        eventually_async(PATIENCE, async || {
            let answer = operator.ask("GET", "/healthz", None).await?;
            let seen = answer.json()["members"].as_array().map_or(0, Vec::len);
            let is_so = answer.status == StatusCode::OK && seen == members;
            if is_so { Ok(answer) } else { Err(format!("{} says {answer:?}", self.name)) }
        })
        .await
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

    /// Tells the node to stop, and waits until it has. Its exit code, and the end of what it logged.
    pub async fn stops(mut self) -> (Option<i32>, String) {
        let status = self.ended_by(Signal::TERM).await;
        (status.code(), self.log())
    }

    /// Stops the process from running, as a stalled machine does.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn freeze(&self) {
        signal(self.id(), Signal::STOP);
    }

    /// Ends the node as a crash would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it had ended already.
    pub async fn kill(mut self) {
        self.ended_by(Signal::KILL).await;
    }

    async fn ended_by(&mut self, name: Signal) -> ExitStatus {
        signal(self.id(), name);
        // `Child::wait` would close the node's stdin, and that ends it at once.
        let ended = eventually_async(PATIENCE, async || {
            let status = self.child.try_wait().expect("it is a child of this process");
            status.ok_or_else(|| format!("{} has not ended after {name:?}", self.name))
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
