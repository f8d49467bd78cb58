//! Tomcat, with the same application as a servlet.

mod node;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::process::Command;

use self::node::Node;
use super::peers::Sites;

/// Where Debian puts it; others say so in `CATALINA_HOME`.
const HOME: &str = "/usr/share/tomcat10";
const SERVLET: &str = include_str!("../../../tomcat/SessionServlet.java");

/// What keeps the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Nothing is replicated.
    Standard,
    /// To all nodes.
    Delta(Sending),
    /// To one node; the others know where.
    Backup(Sending),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// For nothing.
    Asynchronous,
    /// Until the receivers have applied what they got.
    Acknowledged,
}

impl Sending {
    /// As Tomcat calls it: `SEND_OPTIONS_ASYNCHRONOUS`, `SEND_OPTIONS_SYNCHRONIZED_ACK | SEND_OPTIONS_USE_ACK`.
    const fn options(self) -> u32 {
        match self {
            Self::Asynchronous => 8,
            Self::Acknowledged => 6,
        }
    }
}

/// An installed Tomcat, and our servlet for it.
#[derive(Debug)]
pub(crate) struct Tomcat {
    home: PathBuf,
    classes: TempDir,
}

impl Tomcat {
    /// Finds Tomcat and compiles the servlet; none if Tomcat, `java` or `javac` is not installed.
    pub(crate) async fn find() -> anyhow::Result<Option<Self>> {
        let home = std::env::var_os("CATALINA_HOME").map_or_else(|| PathBuf::from(HOME), PathBuf::from);
        let jar = home.join("lib/servlet-api.jar");
        if !jar.exists() || !home.join("bin/bootstrap.jar").exists() || !is_program("java").await? {
            return Ok(None);
        }
        if !is_program("javac").await? {
            return Ok(None);
        }
        let classes = tempfile::tempdir()?;
        compile(&jar, classes.path()).await?;
        Ok(Some(Self { home, classes }))
    }

    /// Starts a cluster of its own, or a single node, and waits until all nodes serve.
    pub(crate) async fn start(&self, manager: Manager, nodes: usize) -> anyhow::Result<Sites> {
        let multicast = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut sites = Sites::default();
        // One after the other: two that start together ask each other for the sessions, and wait a minute for them.
        for _ in 0..nodes {
            Node::start(self, manager, multicast).await?.ready(&mut sites).await?;
        }
        Ok(sites)
    }
}

async fn is_program(name: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(name);
    command.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match command.status().await {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot run {name}")),
    }
}

async fn compile(jar: &Path, classes: &Path) -> anyhow::Result<()> {
    let source = classes.join("SessionServlet.java");
    std::fs::write(&source, SERVLET)?;
    let mut command = Command::new("javac");
    command.arg("-cp").arg(jar).arg("-d").arg(classes).arg(&source).kill_on_drop(true);
    let output = command.output().await.context("cannot run javac")?;
    ensure!(output.status.success(), "javac refuses the servlet: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
