//! Sessions that are made, read and written on a node.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sessionmesh::{LoadError, Mesh, SessionId};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::measured::Measured;
use super::protocol::{Found, Rates};
use crate::engine::writers::KEY;
use crate::payload::{self, Payload};
use crate::share;

/// Tasks that read or write what was listed.
const TASKS: usize = 16;

/// Makes `count` sessions, and returns their ids.
pub(super) async fn create(mesh: &Mesh, count: usize, bytes: usize, tasks: usize) -> anyhow::Result<Vec<SessionId>> {
    let tasks = tasks.max(1);
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let mesh = mesh.clone();
        let mine = share::of(count, task, tasks);
        running.spawn(async move {
            let mut ids = Vec::with_capacity(mine);
            for _ in 0..mine {
                let session = mesh.create().await?;
                session.insert_bytes(KEY, Payload::random(bytes).numbered(0));
                session.commit().await?;
                ids.push(session.id());
                consume_budget().await;
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::with_capacity(count);
    while let Some(made) = running.join_next().await {
        ids.extend(made??);
    }
    Ok(ids)
}

/// Reads these sessions in turns, for as long as `window`. A session that is not there is an error.
pub(super) async fn load(mesh: &Mesh, ids: Vec<SessionId>, tasks: usize, window: Duration) -> anyhow::Result<Rates> {
    let ids: Arc<[SessionId]> = ids.into();
    ensure!(!ids.is_empty(), "there is no session to read");
    let measured = Measured::begin()?;
    let until = measured.began + window;
    let mut running = JoinSet::new();
    for task in 0..tasks.max(1) {
        let (mesh, ids) = (mesh.clone(), ids.clone());
        running.spawn(async move {
            let (mut latencies, mut failed) = (Vec::with_capacity(1 << 16), 0);
            // Each begins elsewhere in the list.
            for id in ids.iter().cycle().skip(task * ids.len() / tasks.max(1)) {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                match mesh.load(*id).await {
                    Ok(session) => ensure!(session.is_some(), "a session is gone"),
                    Err(LoadError::CannotTell { .. }) => failed += 1,
                    Err(error) => return Err(error.into()),
                }
                latencies.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                // Reads of own copies wait for nothing: the node has other things to do, too.
                consume_budget().await;
            }
            anyhow::Ok((latencies, failed))
        });
    }
    measured.rates(running).await
}

/// Writes `number` into each of these sessions.
pub(super) async fn update(mesh: &Mesh, ids: &[String], number: u64, bytes: usize) -> anyhow::Result<()> {
    for id in decode(ids)? {
        let session = mesh.load(id).await?.context("a session to update is gone")?;
        session.insert_bytes(KEY, Payload::random(bytes).numbered(number));
        session.commit().await?;
    }
    Ok(())
}

/// What is read of each of these sessions now, in their order.
pub(super) async fn numbers(mesh: &Mesh, ids: &[String]) -> anyhow::Result<Vec<Found>> {
    let ids = decode(ids)?;
    let mut running = JoinSet::new();
    let share = ids.len().div_ceil(TASKS).max(1);
    for (task, ids) in ids.chunks(share).map(<[SessionId]>::to_vec).enumerate() {
        let mesh = mesh.clone();
        running.spawn(async move {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.push(match mesh.load(id).await {
                    Ok(session) => {
                        let value = session.and_then(|session| session.get_bytes(KEY));
                        value.and_then(|value| payload::number(&value)).map_or(Found::Nothing, Found::Number)
                    }
                    Err(LoadError::CannotTell { .. }) => Found::CannotTell,
                    Err(error) => return Err(error.into()),
                });
            }
            anyhow::Ok((task, found))
        });
    }
    let mut parts = vec![Vec::new(); ids.len().div_ceil(share)];
    while let Some(done) = running.join_next().await {
        let (task, found) = done??;
        parts[task] = found;
    }
    Ok(parts.concat())
}

/// Ids as they were told.
pub(super) fn decode(ids: &[String]) -> anyhow::Result<Vec<SessionId>> {
    let decoded = ids.iter().map(|id| SessionId::decode(id)).collect::<Result<_, _>>();
    decoded.context("not a session id")
}
