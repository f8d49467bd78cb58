//! What a node is started with.

use std::fmt;
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use sessionmesh::{Discovery, Mesh, MeshBuilder, Mode, Secret};
use tokio::runtime::{Builder, Runtime};

/// A seed that nobody listens at keeps the first node from multicast.
const NOBODY: &str = "127.0.0.1:1";

/// More than any part makes. The default is the million that some parts make.
const MAX_SESSIONS: u64 = 10_000_000;

/// One node in a process of its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    #[arg(long)]
    pub(crate) name: String,
    #[arg(long)]
    pub(crate) cluster: String,
    /// Other nodes.
    #[arg(long = "seed")]
    pub(crate) seeds: Vec<SocketAddr>,
    /// `all-to-all`, or the number of backups.
    #[arg(long, value_parser = mode)]
    pub(crate) mode: Mode,
    /// `per-core`, `current` (the runtime has no threads but its own), or how many.
    #[arg(long)]
    pub(crate) threads: Threads,
    /// The cluster secret. Whoever lists processes sees it: it is made for one run, and guards nothing.
    #[arg(long, value_parser = Secret::parse)]
    pub(crate) secret: Option<Secret>,
}

/// The runtime of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Tokio's usual one.
    #[default]
    PerCore,
    /// The one that runs everything on the thread that waits for it.
    Current,
    /// Tokio's usual one, with so many threads.
    Many(usize),
}

impl NodeArgs {
    /// As they stand on the command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            ["node", "--name", &self.name, "--cluster", &self.cluster].map(String::from).into();
        for seed in &self.seeds {
            words.extend(["--seed".to_owned(), seed.to_string()]);
        }
        let mode = match self.mode {
            Mode::AllToAll => ALL_TO_ALL.to_owned(),
            Mode::PrimaryBackup { backups } => backups.to_string(),
        };
        words.extend(["--mode".to_owned(), mode, "--threads".to_owned(), self.threads.to_string()]);
        if let Some(secret) = &self.secret {
            words.extend(["--secret".to_owned(), secret.to_text().to_string()]);
        }
        words
    }

    /// The node that they describe, not started. All else that matters to speed is as it is by default.
    pub(super) fn builder(&self) -> MeshBuilder {
        // Alone for sure: the first need not look around for long.
        let window = Duration::from_millis(if self.seeds.is_empty() { 50 } else { 1_000 });
        let seeds = [NOBODY.to_owned()].into_iter().chain(self.seeds.iter().map(ToString::to_string));
        Mesh::builder()
            .cluster(self.cluster.clone())
            .name(self.name.clone())
            .discovery(Discovery::seeds(seeds))
            .discovery_window(window)
            .mode(self.mode)
            .max_sessions(MAX_SESSIONS)
            .secret(Vec::from_iter(self.secret.clone()))
    }
}

impl Threads {
    pub(crate) fn runtime(self) -> std::io::Result<Runtime> {
        match self {
            Self::PerCore => Builder::new_multi_thread().enable_all().build(),
            Self::Current => Builder::new_current_thread().enable_all().build(),
            Self::Many(count) => Builder::new_multi_thread().worker_threads(count).enable_all().build(),
        }
    }
}

const ALL_TO_ALL: &str = "all-to-all";

fn mode(text: &str) -> Result<Mode, ParseIntError> {
    if text == ALL_TO_ALL { Ok(Mode::AllToAll) } else { Ok(Mode::PrimaryBackup { backups: text.parse()? }) }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerCore => f.write_str("per-core"),
            Self::Current => f.write_str("current"),
            Self::Many(count) => count.fmt(f),
        }
    }
}

impl FromStr for Threads {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "per-core" => Ok(Self::PerCore),
            "current" => Ok(Self::Current),
            _ => match text.parse() {
                Ok(0) | Err(_) => bail!("`{text}` is neither `per-core`, `current` nor a number from 1 on"),
                Ok(count) => Ok(Self::Many(count)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        args: NodeArgs,
    }

    #[test]
    fn arguments_arrive_as_they_were_sent() {
        let seeds = vec!["127.0.0.1:7".parse().unwrap(), "127.0.0.1:8".parse().unwrap()];
        let two = Mode::PrimaryBackup { backups: 2 };
        let secret = Secret::generate();
        for (mode, threads, secret) in [(Mode::AllToAll, Threads::Current, None), (two, Threads::Many(3), Some(secret))]
        {
            let sent = NodeArgs { name: "n".into(), cluster: "c".into(), seeds: seeds.clone(), mode, threads, secret };
            let args = Parsed::parse_from(sent.words()).args;
            assert_eq!(format!("{args:?}"), format!("{sent:?}"));
            assert_eq!(args.secret, sent.secret);
        }
        assert!("0".parse::<Threads>().is_err());
        assert_eq!("per-core".parse::<Threads>().unwrap(), Threads::PerCore);
    }
}
