//! What is asked of a node, and what it answers.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::reading::{Pace, Reads};
use super::visiting::Forged;
use crate::engine::writers::{Done, Work};
use crate::latencies::Latencies;

/// What a node shall do. Ids are in the form of [`sessionmesh::SessionId::encode`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Makes sessions at home, each with a value of its own. [`Answer::Created`], with the ids if `tell`.
    Create { count: usize, bytes: usize, tasks: usize, tell: bool },
    /// Reads these sessions in turns, or those that were made here if none is named. [`Answer::Rates`]
    Load { ids: Vec<String>, tasks: usize, for_ms: u64 },
    /// Loads and writes one of these sessions so often in a second. [`Answer::Rates`]
    Visit { ids: Vec<String>, per_second: u32, bytes: usize, for_ms: u64 },
    /// Makes ids that nobody has, so often in a second, and loads those that are of a kind. [`Answer::Rates`]
    Flood { per_second: u32, forged: Option<Forged>, for_ms: u64 },
    /// Commits for a while. [`Answer::Rates`]
    Write { work: Work, for_ms: u64 },
    /// Begins to commit, and goes on while other commands are done. [`Answer::Done`] when all sessions are made.
    StartWriting(Work),
    /// What was committed since the last lap. [`Answer::Rates`]
    Lap,
    /// Ends what [`Command::StartWriting`] began. [`Answer::Rates`] since the last lap
    StopWriting,
    /// Commits until the node is killed, creations and updates mixed, with an [`Answer::Acknowledged`] for each commit
    /// before its writer goes on.
    Stream(Work),
    /// Writes this number into each of these sessions. [`Answer::Done`]
    Update { ids: Vec<String>, number: u64, bytes: usize },
    /// The numbers in these sessions, as this node reads them now. [`Answer::Numbers`]
    Numbers { ids: Vec<String> },
    /// Begins to look whether `peer` is out of the view, or suspected. [`Answer::Done`] once it looks
    Watch { peer: String, for_ms: u64 },
    /// Waits for what [`Command::Watch`] finds. [`Answer::Seen`]
    Seen,
    /// Answers whatever is sent over one connection, without sessions: see [`crate::engine::ping_pong`].
    /// [`Answer::Echoes`]
    Echo,
    /// Sends to such an echo, and waits for the answer, for a while. [`Answer::Rates`]
    Ping { addr: SocketAddr, for_ms: u64 },
    /// [`Answer::Stats`]
    Stats,
    /// Writes so often into each session that was made here. [`Answer::Done`]
    Rewrite { times: u32, bytes: usize, tasks: usize },
    /// Ends all sessions that were made here. [`Answer::Done`]
    EndAll { tasks: usize },
    /// Makes sessions and ends each before the next. [`Answer::Done`]
    MakeAndEnd { count: usize, bytes: usize, tasks: usize },
    /// Begins to read the sessions that were made here, at random, and goes on while other commands are done.
    /// [`Answer::Done`]
    StartReading { tasks: usize, pace: Pace },
    /// [`Answer::Reads`]
    StopReading,
    /// Begins to wait for this member. [`Answer::Done`]
    Expect { member: String },
    /// Waits until the member that was expected is in the view. [`Answer::At`]
    Arrived,
    /// Waits until this node is ready. [`Answer::At`]
    Ready,
    /// Of how many of the sessions that were made here this member is an owner. [`Answer::Count`]
    OwnedBy { member: String },
    /// Leaves the cluster, with everything handed over. [`Answer::Left`]
    Leave { deadline_ms: u64 },
}

/// What a node answers. Times of the clock are nanoseconds of `CLOCK_MONOTONIC`, see [`crate::monotonic`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It runs, but may not know the others yet.
    Started {
        addr: SocketAddr,
    },
    Done,
    Created {
        ids: Vec<String>,
        took_us: f64,
    },
    Rates(Rates),
    /// When it was seen, and whether the peer was out of the view then; none if it was not within the time given.
    Seen {
        at_ns: Option<u64>,
        removed: bool,
    },
    Acknowledged {
        id: String,
        number: u64,
    },
    Numbers(Vec<Found>),
    Echoes {
        addr: SocketAddr,
    },
    Stats(NodeStats),
    /// When it happened.
    At {
        at_ns: u64,
    },
    Count(usize),
    Reads(Reads),
    Left {
        took_us: f64,
    },
    /// It could not be done, and why.
    Failed(String),
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    Number(u64),
    /// There is no such session, or no number in it.
    Nothing,
    /// The node cannot tell now.
    CannotTell,
}

/// How much was done, and how long each took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub(crate) count: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) longest_us: f64,
    /// Commits that failed, or reads that could not be told.
    pub(crate) failed: u64,
    /// Commits that have no copy on another node.
    pub(crate) without_copy: u64,
    /// Processor time of the node for each.
    pub(crate) cpu_us: f64,
}

impl Rates {
    pub(super) fn new(per_second: f64, latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            per_second,
            p50_us: latencies.percentile_us(500),
            p99_us: latencies.percentile_us(990),
            p999_us: latencies.percentile_us(999),
            longest_us: latencies.longest_us(),
            failed: 0,
            without_copy: 0,
            cpu_us: 0.0,
        }
    }
}

impl From<&Done> for Rates {
    fn from(done: &Done) -> Self {
        Self {
            failed: done.timed_out,
            without_copy: done.without_copy,
            cpu_us: done.cpu.as_nanos() as f64 / 1_000.0,
            ..Self::new(done.rate, &done.latencies)
        }
    }
}

/// A node at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStats {
    pub(crate) sessions: usize,
    /// Sessions held of which it is an owner by its view.
    pub(crate) owned: usize,
    pub(crate) outbox: usize,
    /// Names of the members in its view, itself too.
    pub(crate) members: Vec<String>,
    pub(crate) ready: bool,
    pub(crate) suspected: Vec<String>,
    pub(crate) commits: u64,
    pub(crate) timeouts: u64,
    /// Physical memory of its process.
    pub(crate) rss_bytes: u64,
    /// Processor time of its process.
    pub(crate) cpu_ms: f64,
    /// When these figures were taken.
    pub(crate) at_ns: u64,
}

/// Writes one line at once, so that it is out even if the process is killed right after.
pub(super) fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line)?;
    output.flush().context("cannot answer")
}

#[cfg(test)]
mod tests {
    use sessionmesh::Ack;

    use super::*;

    #[test]
    fn a_command_is_one_line() {
        let work = Work { writers: 1, bytes: 2, ack: Ack::Owners };
        for command in [Command::Lap, Command::StartWriting(work), Command::Numbers { ids: vec!["a\nb".into()] }] {
            let line = serde_json::to_string(&command).unwrap();
            assert!(!line.contains('\n'), "{line}");
            let read: Command = serde_json::from_str(&line).unwrap();
            assert_eq!(format!("{read:?}"), format!("{command:?}"));
        }
    }
}
