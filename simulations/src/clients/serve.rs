//! What a request does on the node that serves it.

use std::collections::BTreeMap;

use sessionmesh::record_store::RecordStore;
use sessionmesh::{Commit, CommitError, Mesh, NodeState, ReadConsistency, Session, SessionId, UserError};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::records;
use crate::oracle::{COUNTER, Did, Padded, Reply, Request, Seen, USER, UsersTold, What, name};

/// One request, on the node; none if it was dropped before there was an answer.
pub async fn patient(mesh: Mesh, store: Option<RecordStore>, request: Request, sizes: (u32, u32)) -> Option<Reply> {
    let patience_ms = request.patience_ms;
    let served = async {
        match store.filter(|_| request.is_record) {
            Some(store) => records::serve(store, request, sizes.0).await,
            None => serve(mesh, request, sizes).await,
        }
    };
    match patience_ms {
        Some(ms) => timeout(Duration::from_millis(ms), served).await.ok(),
        None => Some(served.await),
    }
}

/// One request, with values of the one size, and of more than the other one if they are to be too large.
async fn serve(mesh: Mesh, request: Request, (pad, large): (u32, u32)) -> Reply {
    let started = Instant::now();
    let Some(id) = request.id else {
        let reply = |did, started: Instant| Reply { took_ms: millis(started), ..Reply::of(None, did) };
        let session = match mesh.create().await {
            Ok(session) => session,
            Err(error) => return reply(Did::Refused(error.to_string()), started),
        };
        put(&session, &request, pad);
        if let Some(user) = request.user {
            session.insert::<Padded>(USER, &(user as u64, None)).expect("a number is JSON");
        }
        if let Some(ms) = request.idle_ms {
            session.set_max_inactive(Duration::from_millis(ms));
        }
        let committed = session.commit().await;
        return reply(did(&session, committed), started);
    };
    let how = if request.what == What::Held { How::Held } else { How::Load };
    let (seen, session) = look(&mesh, id, how).await;
    let seen = Some((seen, millis(started)));
    let Some(session) = session else {
        return Reply::of(seen, Did::Nothing);
    };
    let pause_ms = match request.what {
        What::Write(_, pause_ms) | What::Keep(pause_ms) => pause_ms,
        _ => request.pause_ms,
    };
    if pause_ms > 0 {
        sleep(Duration::from_millis(pause_ms)).await;
    }
    let started = Instant::now();
    let (mut counted, mut unchanged, mut users) = (None, false, None);
    let did = match request.what {
        What::Create(_) | What::Read | What::Held | What::ReadMoved => Did::Nothing,
        What::Touch => {
            session.touch();
            // Who leaves may be gone before the others have heard of it.
            unchanged = matches!(mesh.health().state, NodeState::Leaving | NodeState::Left | NodeState::Failed);
            Did::Nothing
        }
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
        What::Move => {
            let moved = session.move_home().await;
            unchanged = moved.as_ref().is_ok_and(|moved| !moved.changed);
            did(&session, moved)
        }
        What::TooLarge(_) => {
            put(&session, &request, large + 1);
            let committed = session.commit().await;
            did(&session, committed)
        }
        What::Rewrite(key) => match session.get_bytes(&name(key)) {
            None => Did::Nothing,
            Some(value) => {
                session.insert_bytes(&name(key), value);
                let committed = session.commit().await;
                unchanged = committed.as_ref().is_ok_and(|commit| !commit.changed);
                did(&session, committed)
            }
        },
        What::List | What::EndAll | What::EndOthers => {
            users = Some(of_user(&mesh, &request, id).await);
            Did::Nothing
        }
    };
    Reply { took_ms: millis(started), counted, unchanged, users, ..Reply::of(seen, did) }
}

/// As many sessions as are looked at together. A slow link with little room takes its time for what is said of more.
const LOOKS_AT_ONCE: usize = 10;

/// What a node says of all these sessions, without counting as an access.
pub async fn look_at_all(mesh: Mesh, ids: Vec<SessionId>) -> BTreeMap<SessionId, Seen> {
    let mut all = BTreeMap::new();
    for ids in ids.chunks(LOOKS_AT_ONCE) {
        let looks: Vec<_> = ids
            .iter()
            .map(|id| {
                let (mesh, id) = (mesh.clone(), *id);
                (id, tokio::task::spawn_local(async move { look(&mesh, id, How::Peek).await.0 }))
            })
            .collect();
        for (id, seen) in looks {
            all.insert(id, seen.await.expect("a look does not panic, and nobody aborts it"));
        }
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

/// What is asked of the sessions of a user.
async fn of_user(mesh: &Mesh, request: &Request, id: SessionId) -> UsersTold {
    let user = request.user.map(|user| user.to_string()).unwrap_or_default();
    let told = match request.what {
        What::List => {
            let listed = mesh.sessions_of(&user).await;
            listed.map(|sessions| UsersTold::List(sessions.into_iter().map(|session| session.id).collect()))
        }
        What::EndAll => mesh.invalidate_all(&user).await.map(UsersTold::from),
        _ => mesh.invalidate_all_but(&user, id).await.map(UsersTold::from),
    };
    told.unwrap_or_else(|error| {
        let ended = if let UserError::CannotTell { ended, .. } = error { ended } else { 0 };
        UsersTold::CannotTell { why: error.to_string(), ended }
    })
}

/// In which way a session is looked at.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// As visitors do.
    Load,
    /// What the node itself holds.
    Held,
    /// Without counting as an access.
    Peek,
}

/// What a node says of a session.
pub async fn look(mesh: &Mesh, id: SessionId, how: How) -> (Seen, Option<Session>) {
    let loaded = match how {
        How::Load => mesh.load(id).await,
        How::Held => mesh.load_with(id, ReadConsistency::Held).await,
        How::Peek => mesh.peek(id).await,
    };
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

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
