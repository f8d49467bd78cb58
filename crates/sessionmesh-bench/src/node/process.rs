//! The driver's side: a node in a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Program};
use tokio::time::timeout;

use super::NodeArgs;
use super::protocol::{Answer, Command, NodeStats, Rates};
use crate::monotonic;
use crate::processor::Threads;

/// How long a process may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// How long an answer may take, beyond what the command itself asks for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// A node in a process of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    args: NodeArgs,
    addr: SocketAddr,
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    /// Starts a node, and waits until it listens. It may not know the others yet.
    pub(crate) async fn start(args: NodeArgs) -> anyhow::Result<Self> {
        let mut program = Program::new(std::env::current_exe()?);
        program.args(args.words()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = program.spawn().context("cannot start a node")?;
        let input = process.stdin.take().context("no standard input")?;
        let output = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut node = Self { args, addr: nowhere, process, input, output };
        match node.receive_within(STARTS_WITHIN).await? {
            Some(Answer::Started { addr }) => node.addr = addr,
            other => bail!("{} does not start: {other:?}", node.name()),
        }
        Ok(node)
    }

    pub(crate) fn name(&self) -> &str {
        &self.args.name
    }

    /// Where other nodes reach it.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process; none once it was killed.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// What its threads have run so far.
    pub(crate) fn threads(&self) -> anyhow::Result<Threads> {
        Threads::of(self.pid().context("a node has ended")?)
    }

    /// Asks, and waits for the answer. That it could not be done is an error.
    pub(crate) async fn ask(&mut self, command: &Command) -> anyhow::Result<Answer> {
        self.send(command).await?;
        self.receive().await
    }

    /// Asks, and waits for nothing: each must be followed by [`Self::receive`].
    pub(crate) async fn send(&mut self, command: &Command) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let sent = self.input.write_all(&line).await;
        sent.with_context(|| format!("{} takes no command", self.name()))
    }

    /// The next answer.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Answer> {
        match self.receive_within(ANSWERS_WITHIN).await? {
            Some(Answer::Failed(why)) => bail!("{}: {why}", self.name()),
            Some(answer) => Ok(answer),
            None => bail!("{} ended without an answer", self.name()),
        }
    }

    /// The next answer, or none when its process has ended. What it had not written completely does not count. Nothing
    /// is lost when this is dropped before it is done.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Answer>> {
        let Some(line) = self.output.next_line().await? else { return Ok(None) };
        match serde_json::from_str(&line) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_eof() && self.output.next_line().await?.is_none() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} answers `{line}`", self.name())),
        }
    }

    async fn receive_within(&mut self, patience: Duration) -> anyhow::Result<Option<Answer>> {
        match timeout(patience, self.next()).await {
            Ok(answer) => answer,
            Err(_) => bail!("{} does not answer within {patience:?}", self.name()),
        }
    }

    /// [`Self::ask`] for [`Answer::Rates`].
    pub(crate) async fn rates(&mut self, command: &Command) -> anyhow::Result<Rates> {
        match self.ask(command).await? {
            Answer::Rates(rates) => Ok(rates),
            other => bail!("{} answers {other:?}", self.name()),
        }
    }

    /// [`Self::ask`] for [`Answer::Stats`].
    pub(crate) async fn stats(&mut self) -> anyhow::Result<NodeStats> {
        match self.ask(&Command::Stats).await? {
            Answer::Stats(stats) => Ok(stats),
            other => bail!("{} answers {other:?}", self.name()),
        }
    }

    /// Sends it a signal: `STOP`, `CONT` or `KILL`. When that was.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<Duration> {
        // Its number cannot be another process's before it was waited for, and then it has none.
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} has ended", self.name()))?;
        let at = monotonic::now();
        kill_process(pid, signal).with_context(|| format!("{signal:?} does not reach {}", self.name()))?;
        Ok(at)
    }

    /// Waits until its process has ended, after [`Signal::KILL`].
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let ended = timeout(ANSWERS_WITHIN, self.process.wait()).await;
        ended.with_context(|| format!("{} does not end", self.name()))??;
        Ok(())
    }
}
