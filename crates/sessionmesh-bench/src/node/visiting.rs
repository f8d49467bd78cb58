//! Requests that come at a pace of their own, however slow a node is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sessionmesh::{LoadError, Mesh, SessionId};
use sessionmesh_core::id::Slot;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::measured::Measured;
use super::protocol::Rates;
use crate::engine::writers::KEY;
use crate::payload::Payload;

/// Tasks that share the requests.
const VISITORS: u32 = 16;
const FORGERS: u32 = 128;

/// Requests of visitors that load one of `ids` and write it, `per_second` of them.
pub(super) async fn visit(
    mesh: &Mesh,
    ids: Vec<SessionId>,
    per_second: u32,
    bytes: usize,
    window: Duration,
) -> anyhow::Result<Rates> {
    ensure!(!ids.is_empty(), "there is no session to visit");
    let ids: Arc<[SessionId]> = ids.into();
    let visit = move |mesh: Mesh, mut random: StdRng| {
        let ids = ids.clone();
        async move {
            let id = ids.choose(&mut random).context("there is no session to visit")?;
            let Ok(found) = mesh.load(*id).await else { return Ok((random, false)) };
            let session = found.context("a session is gone")?;
            session.insert_bytes(KEY, Payload::random(bytes).numbered(0));
            let committed = session.commit().await.is_ok();
            Ok((random, committed))
        }
    };
    paced(mesh, VISITORS, per_second, window, visit).await
}

/// Ids that nobody has, as somebody makes them who wants to be logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Forged {
    /// Of random bytes.
    Random,
    /// They pass for minted ones: whoever made them has read how ids are made.
    Minted,
}

/// Makes such ids, `per_second` of them, and loads each once; none are only made, to see what that takes by itself.
pub(super) async fn flood(
    mesh: &Mesh,
    per_second: u32,
    forged: Option<Forged>,
    window: Duration,
) -> anyhow::Result<Rates> {
    let forge = move |mesh: Mesh, mut random: StdRng| async move {
        let slot = Slot::masked(random.random());
        let id = match forged {
            Some(Forged::Random) => SessionId::from_bytes(random.random()),
            Some(Forged::Minted) | None => SessionId::mint(&mut random, slot),
        };
        if forged.is_none() {
            return Ok((random, std::hint::black_box(id).is_minted()));
        }
        match mesh.load(id).await {
            Ok(None) => Ok((random, true)),
            Ok(Some(_)) => anyhow::bail!("a forged id has a session"),
            Err(LoadError::CannotTell { .. }) => Ok((random, false)),
            Err(error) => Err(error.into()),
        }
    };
    paced(mesh, FORGERS, per_second, window, forge).await
}

/// Does something `per_second` times. Latency counts from when each was due: what a node does not get around to is late
/// for the visitor, too. `request` says whether it succeeded.
async fn paced<R>(
    mesh: &Mesh,
    tasks: u32,
    per_second: u32,
    window: Duration,
    request: impl Fn(Mesh, StdRng) -> R + Clone + Send + 'static,
) -> anyhow::Result<Rates>
where
    R: Future<Output = anyhow::Result<(StdRng, bool)>> + Send,
{
    let measured = Measured::begin()?;
    let began = measured.began;
    let pause = Duration::from_secs(1) * tasks / per_second.max(1);
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (mesh, request) = (mesh.clone(), request.clone());
        running.spawn(async move {
            let mut random = StdRng::from_os_rng();
            let (mut latencies, mut failed) = (Vec::new(), 0);
            // They begin one after the other.
            let mut due = began + pause * task / tasks;
            while due < began + window {
                sleep_until(due).await;
                let succeeded;
                (random, succeeded) = request(mesh.clone(), random).await?;
                failed += u64::from(!succeeded);
                latencies.push(u32::try_from(due.elapsed().as_nanos()).unwrap_or(u32::MAX));
                due += pause;
            }
            anyhow::Ok((latencies, failed))
        });
    }
    measured.rates(running).await
}
