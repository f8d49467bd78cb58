//! What a request does on the node that serves it.

use std::collections::BTreeMap;

use sessionmesh::{Commit, CommitError, Mesh, Session, SessionId};
use tokio::time::{Duration, Instant, sleep};

use crate::oracle::{COUNTER, Did, Padded, Reply, Request, Seen, What, name};

/// One request, on the node.
pub async fn serve(mesh: Mesh, request: Request, pad: u32) -> Reply {
    let started = Instant::now();
    let Some(id) = request.id else {
        let reply = |did, started: Instant| Reply { seen: None, did, took_ms: millis(started), counted: None };
        let session = match mesh.create().await {
            Ok(session) => session,
            Err(error) => return reply(Did::Refused(error.to_string()), started),
        };
        put(&session, &request, pad);
        let committed = session.commit().await;
        return reply(did(&session, committed), started);
    };
    let (seen, session) = look(&mesh, id, false).await;
    let seen = Some((seen, millis(started)));
    let Some(session) = session else {
        return Reply { seen, did: Did::Nothing, took_ms: 0, counted: None };
    };
    if let What::Write(_, pause_ms) | What::Keep(pause_ms) = request.what {
        sleep(Duration::from_millis(pause_ms)).await;
    }
    let started = Instant::now();
    let mut counted = None;
    let did = match request.what {
        What::Create(_) | What::Read => Did::Nothing,
        What::Write(..) | What::Share(_) | What::Remove(_) | What::Keep(_) => {
            put(&session, &request, pad);
            let committed = session.commit().await;
            did(&session, committed)
        }
        What::Count => {
            match session.update(COUNTER, |n: Option<Padded>| Some((n.map_or(0, |n| n.0) + 1, None))).await {
                Ok(number) => {
                    counted = number.map(|number| number.0);
                    Did::Acked(session.id(), 0)
                }
                Err(error) => did(&session, Err(error)),
            }
        }
        What::Logout => {
            let ended = session.invalidate().await;
            did(&session, ended)
        }
        What::Renew => {
            let renewed = session.renew_id().await;
            did(&session, renewed)
        }
    };
    Reply { seen, did, took_ms: millis(started), counted }
}

/// What a node says of all these sessions, without counting as an access.
pub async fn look_at_all(mesh: Mesh, ids: Vec<SessionId>) -> BTreeMap<SessionId, Seen> {
    let looks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let mesh = mesh.clone();
            (id, tokio::task::spawn_local(async move { look(&mesh, id, true).await.0 }))
        })
        .collect();
    let mut all = BTreeMap::new();
    for (id, seen) in looks {
        all.insert(id, seen.await.expect("a look does not panic, and nobody aborts it"));
    }
    all
}

fn put(session: &Session, request: &Request, pad: u32) {
    match request.what.write(request.tab) {
        Some((key, _, true)) => session.remove(&name(key)),
        Some((key, value, false)) => {
            let pad = (pad > 0).then(|| "x".repeat(pad as usize));
            session.insert::<Padded>(&name(key), &(value, pad)).expect("a number and a text are JSON");
        }
        None => {}
    }
}

fn did(session: &Session, result: Result<Commit, CommitError>) -> Did {
    match result {
        Ok(commit) => Did::Acked(commit.id, commit.copies),
        Err(
            error @ (CommitError::Ended
            | CommitError::Unknown
            | CommitError::CannotTell(_)
            | CommitError::Limit(_)
            | CommitError::Left),
        ) => Did::Refused(error.to_string()),
        Err(error) => Did::Unconfirmed(session.id(), error.to_string()),
    }
}

/// What a node says of a session; `peek` does not count as an access.
pub async fn look(mesh: &Mesh, id: SessionId, peek: bool) -> (Seen, Option<Session>) {
    let loaded = if peek { mesh.peek(id).await } else { mesh.load(id).await };
    match loaded {
        Err(error) => (Seen::CannotTell(error.to_string()), None),
        Ok(None) => (Seen::Nothing, None),
        Ok(Some(session)) => {
            let keys = session.keys();
            let value = |key: &str| session.get::<Padded>(key).expect("only such values are written");
            let values = keys.iter().filter_map(|key| Some((key.to_string(), value(key)?.0))).collect();
            (Seen::Session(values), Some(session))
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
