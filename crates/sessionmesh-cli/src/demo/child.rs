//! A node of the demo: a process of its own, so that it can be killed for real.

use std::collections::{BTreeMap, VecDeque};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use sessionmesh::config::ENV_PREFIX;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::failure::Failure;
use crate::node::{PULL, ReadyLine};
use crate::terminal::FAINT;

/// How long a node may take to become ready.
const READY: Duration = Duration::from_secs(30);
/// How long the last words of an ended node may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So many of its last lines are remembered.
const LINES_MAX: usize = 5;

/// A running node. It ends when this is dropped, and also if this process is killed: its stdin closes then.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) ready: ReadyLine,
    pub(crate) started_in: Duration,
    process: Child,
    stdin: Option<ChildStdin>,
    stderr: Stderr,
}

impl Node {
    /// Starts a node with `settings`, by their keys, and waits until it is ready.
    pub(crate) async fn start(
        name: String,
        settings: BTreeMap<&'static str, String>,
        log: Option<String>,
    ) -> Result<Self, Failure> {
        let start = Instant::now();
        let failed = |error| Failure::Failed(Some(format!("cannot start {name}: {error}")));
        let mut process = command(&name, &settings, log.as_deref()).and_then(|mut it| it.spawn()).map_err(failed)?;
        let mut stderr = Stderr::read(&name, process.stderr.take(), log.is_some());
        let stdout = process.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        match timeout(READY, ready_line(stdout)).await {
            Ok(Some(ready)) => {
                let stdin = process.stdin.take();
                Ok(Self { ready, started_in: start.elapsed(), process, stdin, stderr })
            }
            Ok(None) => {
                let status = process.wait().await.map_err(failed)?;
                let words = stderr.last_words().await;
                let message = format!("{name} did not start: {}", words.unwrap_or_else(|| status.to_string()));
                Err(if status.code() == Some(2) { Failure::Refused(message) } else { Failure::Failed(Some(message)) })
            }
            Err(_) => {
                let wait = humantime::format_duration(READY);
                Err(Failure::Failed(Some(format!("{name} was not ready within {wait}; see why with --log info"))))
            }
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends it as a crash would (SIGKILL), and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.process.kill().await.map_err(|error| format!("cannot kill {}: {error}", self.ready.name))
    }

    /// Pulls its cable, or plugs it in again.
    pub(crate) async fn pull(&mut self, pulled: bool) -> Result<(), String> {
        let line = if pulled { PULL } else { "plug in" };
        let failed = |why: String| format!("cannot reach {}: {why}", self.ready.name);
        let stdin = self.stdin.as_mut().ok_or_else(|| failed("it has ended".to_owned()))?;
        stdin.write_all(format!("{line}\n").as_bytes()).await.map_err(|error| failed(error.to_string()))
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let failed = |why: String| format!("cannot signal {}: {why}", self.ready.name);
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed("it has ended".to_owned()))?;
        kill_process(pid, signal).map_err(|error| failed(error.to_string()))
    }

    /// How it ended, if it has.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok().flatten()?;
        let words = self.stderr.last_words().await;
        Some(format!(
            "{} has ended ({}){}",
            self.ready.name,
            how(status),
            words.map_or_else(String::new, |w| format!(": {w}"))
        ))
    }
}

fn how(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("signal {signal}");
    }
    status.to_string()
}

/// This program again, as a node. Settings go through the environment; what the user has set there is for other nodes.
fn command(name: &str, settings: &BTreeMap<&str, String>, log: Option<&str>) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["node", "--until-stdin-closes", "--log", log.unwrap_or("error")]);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with(ENV_PREFIX) {
            command.env_remove(variable);
        }
    }
    let settings = settings.iter().map(|(key, value)| (*key, value.as_str())).chain([("name", name)]);
    command.envs(settings.map(|(key, value)| (format!("{ENV_PREFIX}{}", key.to_ascii_uppercase()), value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C in the terminal is for the demo alone, which then ends its nodes.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

/// What the node says when it is ready; none if it ends before.
async fn ready_line(stdout: Option<Lines<BufReader<ChildStdout>>>) -> Option<ReadyLine> {
    let mut lines = stdout?;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(ready) = line.parse() {
            return Some(ready);
        }
    }
    None
}

/// What a node writes to stderr.
#[derive(Debug)]
struct Stderr {
    lines: Arc<Mutex<VecDeque<String>>>,
    reading: JoinHandle<()>,
}

impl Stderr {
    /// Reads on in the background; `shown` lines appear on the demo's stderr.
    fn read(name: &str, stderr: Option<impl AsyncRead + Send + Unpin + 'static>, shown: bool) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let (kept, name) = (lines.clone(), name.to_owned());
        let reading = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut stderr = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = stderr.next_line().await {
                if shown {
                    let faint = FAINT;
                    anstream::eprintln!("{faint}{name}:{faint:#} {line}");
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LINES_MAX {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Self { lines, reading }
    }

    /// The last lines of a node that has ended.
    async fn last_words(&mut self) -> Option<String> {
        if !self.reading.is_finished() {
            let _ = timeout(LAST_WORDS, &mut self.reading).await;
        }
        let lines: Vec<String> = self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let text = lines.join("\n  ");
        (!text.is_empty()).then(|| text.strip_prefix("error: ").unwrap_or(&text).to_owned())
    }
}
