//! The five faults, each about the first host: for Redis, that of the primary.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::ValueEnum;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::fault::both_ways;
use crate::network::{How, Traffic};
use crate::system::System;

const HOST: usize = 0;
const DOWN: Duration = Duration::from_secs(10);
const FREEZE: Duration = Duration::from_secs(5);
const CUT: Duration = Duration::from_secs(10);
const PARTITION: Duration = Duration::from_secs(15);
/// How long a node may take to stop, and to serve again.
const RESTARTS_WITHIN: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Five {
    Kill,
    Freeze,
    Cut,
    Partition,
    RollingRestart,
}

impl fmt::Display for Five {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9, back after 10 s",
            Self::Freeze => "frozen for 5 s",
            Self::Cut => "silent cut for 10 s",
            Self::Partition => "partition for 15 s",
            Self::RollingRestart => "rolling restart",
        })
    }
}

impl Five {
    /// Plays it to its end.
    pub(super) async fn play(self, system: &mut System) -> anyhow::Result<()> {
        let others: Vec<usize> = (0..system.nodes()).filter(|host| *host != HOST).collect();
        match self {
            Self::Kill => {
                system.kill(HOST).await?;
                sleep(DOWN).await;
                system.start_beside(HOST)?;
                system.start(HOST)?;
            }
            Self::Freeze => {
                system.signal_host(HOST, Signal::STOP);
                sleep(FREEZE).await;
                system.signal_host(HOST, Signal::CONT);
            }
            Self::Cut => {
                let visitors = system.nodes();
                let all: Vec<usize> = others.into_iter().chain([visitors]).collect();
                system.network.block(0, both_ways(&[HOST], &all, Traffic::All, How::Silent))?;
                sleep(CUT).await;
                system.network.heal()?;
            }
            Self::Partition => {
                system.network.block(0, both_ways(&[HOST], &others, Traffic::All, How::Silent))?;
                sleep(PARTITION).await;
                system.network.heal()?;
            }
            Self::RollingRestart => {
                for node in 0..system.nodes() {
                    restart(system, node).await?;
                }
            }
        }
        Ok(())
    }
}

async fn restart(system: &mut System, node: usize) -> anyhow::Result<()> {
    let until = Instant::now() + RESTARTS_WITHIN;
    system.signal(node, Signal::TERM);
    while system.ended(node)?.is_none() {
        ensure!(Instant::now() < until, "a node does not stop");
        sleep(Duration::from_millis(10)).await;
    }
    system.start(node)?;
    while !system.status(node).await.ready {
        ensure!(Instant::now() < until, "a node does not serve again");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
