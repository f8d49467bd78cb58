//! Operations as an application calls them, on two nodes in this process.

use std::cell::Cell;

use anyhow::{Context as _, ensure};
use sessionmesh::{Ack, Mesh, Session};
use tokio::runtime::Runtime;

use super::timing::Timer;
use crate::cluster;

/// Attributes of the session that is read and changed.
const ATTRIBUTES: usize = 8;
/// Bytes of the value that each commit writes.
const BYTES: usize = 256;
/// The attribute that is written.
const KEY: &str = "a";

/// Two nodes on the one thread of a runtime, so that all that is allocated is allocated on it.
pub(super) struct Pair {
    runtime: Runtime,
    nodes: Vec<Mesh>,
}

impl Pair {
    /// Starts them.
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let nodes = runtime.block_on(cluster::start(2, |builder| builder))?;
        Ok(Self { runtime, nodes })
    }

    /// Times all operations once.
    pub(super) fn time(&self, timer: &mut Timer<'_>) -> anyhow::Result<()> {
        let (runtime, node) = (&self.runtime, &self.nodes[0]);
        // Between the rounds nobody ran the nodes: their leases have run out.
        runtime.block_on(cluster::settled(&self.nodes))?;
        let session = runtime.block_on(self.session())?;
        runtime.block_on(self.current(&session))?;

        timer.time("get", || (), |_| session.get::<String>("name-3"));
        timer.time("insert", || (), |_| session.insert("name-3", "Ada Lovelace"));
        timer.time_async("create", runtime, async || {
            node.create().await?;
            Ok(())
        })?;
        let before = node.stats();
        timer.time_async("load", runtime, async || {
            ensure!(node.load(session.id()).await?.is_some(), "the session is gone");
            Ok(())
        })?;
        let asked = node.stats().remote_reads - before.remote_reads;
        ensure!(asked == 0, "{asked} reads were not local");
        for (name, ack) in [("commit-local", Ack::Local), ("commit-copies-1", Ack::Copies(1))] {
            let number = Cell::new(0_u64);
            timer.time_async(name, runtime, async || {
                number.set(number.get() + 1);
                let mut value = [0; BYTES];
                value[..8].copy_from_slice(&number.get().to_le_bytes());
                session.insert_bytes(KEY, value.as_slice());
                let commit = session.commit_with(ack).await?;
                ensure!(commit.copies >= usize::from(ack != Ack::Local), "a commit has no copy");
                Ok(())
            })?;
        }
        runtime.block_on(async {
            session.invalidate().await?;
            cluster::settled(&self.nodes).await
        })
    }

    async fn session(&self) -> anyhow::Result<Session> {
        let session = self.nodes[0].create().await?;
        for number in 0..ATTRIBUTES {
            session.insert(&format!("name-{number}"), &"x".repeat(BYTES))?;
        }
        session.insert("name-3", "Ada Lovelace")?;
        session.commit().await?;
        Ok(session)
    }

    /// Waits until the first node answers for the session without asking the other one.
    async fn current(&self, session: &Session) -> anyhow::Result<()> {
        let node = &self.nodes[0];
        let reads = async {
            loop {
                let before = node.stats().remote_reads;
                ensure!(node.load(session.id()).await?.is_some(), "the session is gone");
                if node.stats().remote_reads == before {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let until = std::time::Duration::from_secs(10);
        tokio::time::timeout(until, reads).await.context("reads do not become local")?
    }
}
