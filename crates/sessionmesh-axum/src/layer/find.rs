//! Which of the ids that a request brought has a session.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sessionmesh::{LoadError, LookUp, Mesh, ReadConsistency, Session, SessionId};

use super::request_cookies::RequestCookies;

/// For so many of the ids that one request brought, and that this node knows nothing of, other nodes are asked; in a flood of
/// such ids for one.
const ASKED_MAX: usize = 8;

fn asked_max(mesh: &Mesh) -> usize {
    if mesh.is_flooded() { 1 } else { ASKED_MAX }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) session: Option<Session>,
    /// There is none, but an id was renewed by another request, so long ago.
    pub(super) renewed_ago: Option<Duration>,
}

impl Found {
    fn note(&mut self, found: LookUp) {
        match found {
            LookUp::Live(session) => self.session = Some(session),
            LookUp::Renewed { ago } => {
                self.renewed_ago = Some(self.renewed_ago.map_or(ago, |known| known.min(ago)));
            }
            _ => {}
        }
    }
}

/// The session of a request: of the ids that have one, the first that it brought, so that each node takes the same.
///
/// What this node knows costs nothing. Of what it must ask others for, so much at a time is asked for that a request with
/// made-up ids stays cheap, beginning with another one each time, so that they hide a good one from no visitor for long.
/// Once something cannot be told, only what this node knows still counts.
pub(super) async fn find(
    mesh: &Mesh,
    request_cookies: &RequestCookies,
    read: ReadConsistency,
    turn: &AtomicUsize,
) -> Result<Found, LoadError> {
    let mut found = Found::default();
    if let Some(id) = request_cookies.only() {
        found.note(mesh.look_up(id, read).await?);
        return Ok(found);
    }
    let mut unclear = None;
    for (id, look) in looks(mesh, request_cookies, turn, asked_max(mesh)) {
        match look {
            Look::Known(known) => found.note(known),
            Look::Ask if unclear.is_none() => match mesh.look_up(id, read).await {
                Ok(told) => found.note(told),
                Err(error) => unclear = Some(error),
            },
            Look::Ask | Look::NotNow => {}
        }
        if let Some(session) = &found.session {
            // What was known here was looked at only.
            session.touch();
            return Ok(found);
        }
    }
    unclear.map_or(Ok(found), Err)
}

/// All sessions that a request brought the ids of, but for `but`, as far as that can be told: for a logout.
pub(super) async fn find_others(
    mesh: &Mesh,
    request_cookies: &RequestCookies,
    but: SessionId,
    turn: &AtomicUsize,
) -> Vec<Session> {
    let mut others = Vec::new();
    if request_cookies.only().is_some() {
        return others;
    }
    for (id, look) in looks(mesh, request_cookies, turn, asked_max(mesh)) {
        let found = match look {
            Look::Known(known) => known,
            Look::NotNow => continue,
            Look::Ask => match mesh.look_up(id, ReadConsistency::Current).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(%error, "a logout may have left the session of another cookie");
                    return others;
                }
            },
        };
        if let LookUp::Live(session) = found
            && session.id() != but
        {
            others.push(session);
        }
    }
    others
}

/// How to look at an id.
enum Look {
    /// This node knows.
    Known(LookUp),
    Ask,
    /// There are too many to ask for.
    NotNow,
}

fn looks(
    mesh: &Mesh,
    request_cookies: &RequestCookies,
    turn: &AtomicUsize,
    asked_max: usize,
) -> Vec<(SessionId, Look)> {
    let known: Vec<_> = request_cookies.ids().map(|id| (id, mesh.look_up_here(id))).collect();
    let unknown = known.iter().filter(|(_, known)| known.is_none()).count();
    let first = if unknown > asked_max { turn.fetch_add(1, Ordering::Relaxed) % unknown } else { 0 };
    let mut number = 0;
    let look = |(id, known)| {
        let Some(known) = known else {
            let place = (number + unknown - first) % unknown;
            number += 1;
            return (id, if place < asked_max { Look::Ask } else { Look::NotNow });
        };
        (id, Look::Known(known))
    };
    known.into_iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::site::mesh;
    use super::*;

    #[tokio::test]
    async fn of_many_unknown_ids_some_are_asked_for_and_all_have_their_turn() {
        let mesh = mesh().await;
        let mut request_cookies = RequestCookies::default();
        for _ in 0..20 {
            // It was minted, and nobody has it.
            request_cookies.add(Some(mesh.create().await.unwrap().id()));
        }
        let turn = AtomicUsize::new(0);
        for asked_max in [1, ASKED_MAX] {
            let mut had_a_turn = BTreeSet::new();
            for _ in 0..20 {
                let looks = looks(&mesh, &request_cookies, &turn, asked_max);
                let asked: Vec<_> = looks.iter().filter(|(_, look)| matches!(look, Look::Ask)).collect();
                assert_eq!(asked.len(), asked_max);
                had_a_turn.extend(asked.iter().map(|(id, _)| *id));
            }
            assert_eq!(had_a_turn.len(), 20);
        }
    }
}
