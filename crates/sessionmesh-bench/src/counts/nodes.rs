//! Operations on nodes, on the one thread of a runtime.
//!
//! Its time stands still while there is something to do, and goes on at once when there is not. So no task that runs now
//! and then runs in one count and not in another, and a sweep is not waited for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sessionmesh::{Ack, Clock, Discovery, Mesh, SessionId};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::operations::Work;
use crate::cluster;
use crate::micro::pure::ATTRIBUTES;

/// Bytes of a value that is written.
const BYTES: usize = 256;
/// Every so often a node looks at all sessions.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it does so in a run.
const SWEEPS: u32 = 4;

/// The time of a runtime. The system's own clock, which nodes read otherwise, cannot be read under valgrind.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn wall_ms(&self) -> u64 {
        // Some day: nothing that is counted looks at it.
        1_800_000_000_000 + u64::try_from(self.elapsed().as_millis()).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A runtime of one thread, whose time stands still while it works.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().start_paused(true).build()?)
}

/// A node alone, to be started on [`runtime`].
pub(super) async fn alone() -> anyhow::Result<Mesh> {
    let builder = Mesh::builder().cluster("bench").name("n0").discovery(Discovery::seeds([cluster::NOBODY]));
    // The same random numbers in each run.
    let builder = builder.discovery_window(Duration::ZERO).clock(Arc::new(RuntimeClock(Instant::now()))).seed(1);
    let node = builder.ack(Ack::Local).start().await?;
    node.ready().await;
    Ok(node)
}

/// Makes one session.
async fn session(node: &Mesh, attributes: usize) -> anyhow::Result<SessionId> {
    let session = node.create().await?;
    for number in 0..attributes {
        session.insert(&format!("name-{number}"), &"x".repeat(BYTES))?;
    }
    session.insert("name-3", "Ada Lovelace")?;
    session.commit().await?;
    Ok(session.id())
}

/// `Mesh::load` and one `Session::get`.
pub(super) fn read(times: u32) -> anyhow::Result<Work> {
    let runtime = runtime()?;
    let (node, id) = runtime.block_on(async {
        let node = alone().await?;
        let id = session(&node, ATTRIBUTES).await?;
        anyhow::Ok((node, id))
    })?;
    Ok(Box::new(move || {
        runtime.block_on(async {
            for _ in 0..times {
                let session = node.load(id).await?.context("the session is gone")?;
                let value = session.get::<String>("name-3")?;
                ensure!(value.is_some_and(|value| value == "Ada Lovelace"), "something else is read");
            }
            Ok(times.into())
        })
    }))
}

/// A changed value, and its commit on this node.
pub(super) fn commit(times: u32) -> anyhow::Result<Work> {
    let runtime = runtime()?;
    let session = runtime.block_on(async {
        let node = alone().await?;
        let id = session(&node, ATTRIBUTES).await?;
        node.load(id).await?.context("the session is gone")
    })?;
    Ok(Box::new(move || {
        runtime.block_on(async {
            for number in 0..times {
                let mut value = [0; BYTES];
                value[..4].copy_from_slice(&number.to_le_bytes());
                session.insert_bytes("a", value.as_slice());
                session.commit_with(Ack::Local).await?;
            }
            Ok(times.into())
        })
    }))
}

/// Some rounds of looking at so many sessions, none of which has been idle for too long.
pub(super) fn sweep(sessions: u32) -> anyhow::Result<Work> {
    let runtime = runtime()?;
    let node = runtime.block_on(async {
        let node = alone().await?;
        for _ in 0..sessions {
            session(&node, 0).await?;
        }
        anyhow::Ok(node)
    })?;
    Ok(Box::new(move || {
        runtime.block_on(async { sleep(SWEEP * SWEEPS).await });
        ensure!(node.stats().owned == sessions as usize, "sessions are gone");
        Ok(u64::from(sessions) * u64::from(SWEEPS))
    }))
}
