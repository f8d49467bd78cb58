//! Commits that tell of themselves, until the node is killed in their midst.

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{CommitError, Mesh, Session};
use tokio::task::{JoinSet, yield_now};

use super::protocol::Answer;
use super::protocol::say;
use crate::engine::writers::{KEY, Work};
use crate::payload::Payload;

/// Runs until the process ends. Numbers of a session only grow.
pub(super) async fn run(mesh: &Mesh, work: Work) -> anyhow::Result<Answer> {
    let mut running = JoinSet::new();
    for _ in 0..work.writers {
        running.spawn(write(mesh.clone(), work));
    }
    running.join_next().await.context("there is no writer")??
}

async fn write(mesh: Mesh, work: Work) -> anyhow::Result<Answer> {
    let mut random = StdRng::from_os_rng();
    let mut mine: Vec<(Session, u64)> = Vec::new();
    loop {
        let old = if mine.is_empty() || random.random() { None } else { Some(random.random_range(0..mine.len())) };
        let at = match old {
            Some(at) => at,
            None => {
                mine.push((mesh.create().await?, 0));
                mine.len() - 1
            }
        };
        let (session, number) = &mut mine[at];
        *number += 1;
        session.insert_bytes(KEY, Payload::random(work.bytes).numbered(*number));
        match session.commit_with(work.ack).await {
            Ok(_) => say(&Answer::Acknowledged { id: session.id().encode(), number: *number })?,
            // It was made, but is not acknowledged: nothing is promised of it.
            Err(CommitError::TimedOut { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // A request ends here and the next one comes from a socket. A commit that waits for nothing would else keep the
        // threads to itself, and nothing would ever be sent.
        yield_now().await;
    }
}
