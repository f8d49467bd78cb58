//! What is done to all sessions that were made on a node.

use std::sync::Arc;

use anyhow::Context as _;
use sessionmesh::{Mesh, SessionId};
use tokio::task::JoinSet;

use crate::engine::writers::KEY;
use crate::payload::Payload;
use crate::share;

/// Writes `times` into each, all of them once before any is written again.
pub(super) async fn rewrite(
    mesh: &Mesh,
    ids: &[SessionId],
    times: u32,
    bytes: usize,
    tasks: usize,
) -> anyhow::Result<()> {
    let ids: Arc<[SessionId]> = ids.into();
    let mut running = JoinSet::new();
    for task in 0..tasks.max(1) {
        let (mesh, ids) = (mesh.clone(), ids.clone());
        running.spawn(async move {
            for time in 1..=times {
                for id in ids.iter().skip(task).step_by(tasks.max(1)) {
                    let session = mesh.load(*id).await?.context("a session to write is gone")?;
                    session.insert_bytes(KEY, Payload::random(bytes).numbered(time.into()));
                    session.commit().await?;
                }
            }
            anyhow::Ok(())
        });
    }
    all(running).await
}

/// Ends them.
pub(super) async fn end(mesh: &Mesh, ids: Vec<SessionId>, tasks: usize) -> anyhow::Result<()> {
    let ids: Arc<[SessionId]> = ids.into();
    let mut running = JoinSet::new();
    for task in 0..tasks.max(1) {
        let (mesh, ids) = (mesh.clone(), ids.clone());
        running.spawn(async move {
            for id in ids.iter().skip(task).step_by(tasks.max(1)) {
                let session = mesh.load(*id).await?.context("a session to end is gone")?;
                session.invalidate().await?;
            }
            anyhow::Ok(())
        });
    }
    all(running).await
}

/// Makes sessions and ends each before the next one.
pub(super) async fn make_and_end(mesh: &Mesh, count: usize, bytes: usize, tasks: usize) -> anyhow::Result<()> {
    let tasks = tasks.max(1);
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let mesh = mesh.clone();
        let mine = share::of(count, task, tasks);
        running.spawn(async move {
            for _ in 0..mine {
                let session = mesh.create().await?;
                session.insert_bytes(KEY, Payload::random(bytes).numbered(0));
                session.commit().await?;
                session.invalidate().await?;
            }
            anyhow::Ok(())
        });
    }
    all(running).await
}

/// Of how many of them `member` is an owner by this node's view.
pub(super) fn owned_by(mesh: &Mesh, ids: &[SessionId], member: &str) -> usize {
    ids.iter().filter(|id| mesh.owners(**id).iter().any(|owner| **owner == *member)).count()
}

async fn all(mut running: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}
