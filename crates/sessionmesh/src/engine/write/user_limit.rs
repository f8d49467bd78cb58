//! What follows from knowing whose a session is: ending all of a user's, and the limit on how many there may be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join;
use futures::stream;
use sessionmesh_core::id::SessionId;
use sessionmesh_core::session::{Record, ValueBytes};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::user_limit::{UserSession, surplus};
use sessionmesh_core::users::UserKey;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::commit::{self, Change, Committed};
use super::end;
use crate::engine::read::{self, user_query};
use crate::engine::replication::Wait;
use crate::engine::state::node::Node;
use crate::error::{CommitError, UserError};
use crate::network::BoxFuture;

/// How often the sessions of a user are listed anew to end those that came meanwhile.
const ROUNDS_MAX: usize = 4;
/// Sessions that are ended at the same time.
const ENDS_MAX: usize = 64;

/// Sessions of a user that were ended.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    pub(crate) all: BTreeSet<SessionId>,
    /// Those of them whose end not every owner confirmed.
    pub(crate) unconfirmed: Vec<SessionId>,
}

/// Ends all sessions of `user` but `keep`, until none is found any more: also on nodes that have not heard yet of an end that another
/// one has made.
///
/// They are listed at least twice: a session that is renewed while its nodes are asked one after the other may be in no
/// list, but then its successor was acknowledged, and is found, before the next list is made.
pub(crate) async fn end_all_of_user(
    node: &Arc<Node>,
    user: &str,
    keep: Option<SessionId>,
    wait: impl Fn() -> Wait,
) -> Result<EndedSessions, UserError> {
    let mut ended = EndedSessions::default();
    let mut confirmed = BTreeSet::new();
    for round in 0..ROUNDS_MAX {
        let after = |error: UserError| error.after_ending(ended.all.len());
        // The one to keep may get another id meanwhile.
        let kept = match keep {
            Some(id) => {
                let resolved = read::resolve(node, id, read::deadline_of_a_read(node)).await;
                Some(resolved.map_err(|error| after(error.into()))?.0)
            }
            None => None,
        };
        let mut found = user_query::sessions_of(node, user).await.map_err(after)?;
        let spared = |id: &SessionId| Some(*id) == keep || Some(*id) == kept;
        found.live.retain(|id, _| !spared(id) && !ended.all.contains(id));
        found.over.retain(|id| !spared(id) && !ended.all.contains(id) && !confirmed.contains(id));
        if found.live.is_empty() && found.over.is_empty() && round > 0 {
            break;
        }
        let live = found.live.into_iter().map(|(id, record)| (id, Some(record))).collect();
        // Whoever ended these may not have told all nodes yet.
        let over = found.over.into_iter().map(|id| (id, None)).collect();
        let (done, known) = join(end_each(node, live, &wait), end_each(node, over, &wait)).await;
        ended.all.extend(done.all);
        confirmed.extend(known.all);
        ended.unconfirmed.extend(done.unconfirmed.into_iter().chain(known.unconfirmed));
        if node.is_closed() {
            return Err(UserError::CannotTell { why: "this node has left the cluster", ended: ended.all.len() });
        }
    }
    ended.unconfirmed.sort_unstable();
    Ok(ended)
}

async fn end_each(
    node: &Arc<Node>,
    sessions: Vec<(SessionId, Option<Record>)>,
    wait: impl Fn() -> Wait,
) -> EndedSessions {
    let ends = sessions
        .into_iter()
        .map(async |(id, record)| (id, end::invalidate(node, id, record.as_ref(), None, wait()).await));
    let mut ends = stream::iter(ends).buffer_unordered(ENDS_MAX);
    let mut ended = EndedSessions::default();
    while let Some((id, copies)) = ends.next().await {
        match copies {
            Err(CommitError::Left) => continue,
            Ok(_) => {}
            Err(_) => ended.unconfirmed.push(id),
        }
        ended.all.insert(id);
    }
    ended
}

/// [`commit::commit`], and what follows if it makes the session a user's.
pub(crate) async fn commit_with_user_limit(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    change: &Change,
    wait: Wait,
) -> Result<Committed, CommitError> {
    let login = match node.config.max_sessions_per_user {
        0 => None,
        _ => Login::coming(node, base, &change.attributes, wait.until).await,
    };
    let committed = commit::commit(node, id, base, change, wait).await?;
    if let Some(login) = login {
        login.limit(node, &committed.record, wait.until).await;
    }
    Ok(committed)
}

/// A commit that makes a session a user's, where users may have only so many.
#[derive(Debug)]
pub(crate) struct Login {
    user: String,
}

impl Login {
    /// Whether these changes to what was `before` make it the session of a user. Then other nodes are heard first, so
    /// that this login counts as later than all that are over. That takes half of the time `until` the commit ends at most:
    /// whoever hangs goes unheard.
    pub(crate) async fn coming(
        node: &Arc<Node>,
        before: Option<&Record>,
        changes: &[(Arc<str>, Option<ValueBytes>)],
        until: Instant,
    ) -> Option<Self> {
        let users = node.store.users().filter(|_| node.config.max_sessions_per_user > 0)?;
        let (_, value) = changes.iter().find(|(key, _)| **key == *users.index.key())?;
        let user = users.index.user_in(value.as_ref()?)?;
        let was = before.and_then(|record| users.index.user_of(&record.session));
        if was.as_ref() == Some(&user) {
            return None;
        }
        // Logins are few; boxed, so that other commits need not carry what it takes.
        let now = Instant::now();
        let half = now + until.saturating_duration_since(now) / 2;
        Box::pin(user_query::catch_up(node, users, UserKey::of(&user), half)).await;
        Some(Self { user })
    }

    /// Whether a change has made what was `before` the session of a user.
    pub(crate) fn happened(node: &Node, before: Option<&Record>, after: &Record) -> Option<Self> {
        let users = node.store.users().filter(|_| node.config.max_sessions_per_user > 0)?;
        let user = users.index.user_of(&after.session)?;
        let was = before.and_then(|record| users.index.user_of(&record.session));
        (was.as_ref() != Some(&user)).then_some(Self { user })
    }

    /// Ends the sessions that are too many now that `own` is one, as far as they can be told. Waits for it until the commit
    /// ends; what is not done then goes on by itself.
    pub(crate) async fn limit(self, node: &Arc<Node>, own: &Record, until: Instant) {
        let watched = user_query::users(node).ok().and_then(|users| users.index.watched(&own.session));
        let Some((since, _)) = watched else { return };
        let limiting: BoxFuture<'static, ()> = {
            let node = node.clone();
            Box::pin(async move { self.end_surplus(&node, since).await })
        };
        let _ = timeout_at(until, node.lifecycle.life.spawn("user-limit", limiting)).await;
    }

    async fn end_surplus(self, node: &Arc<Node>, since: Stamp) {
        let Ok(users) = user_query::users(node) else { return };
        let found = match user_query::sessions_of(node, &self.user).await {
            Ok(found) => found.live,
            Err(error) => {
                warn!(%error, "the limit on the sessions of a user was not checked; the next login checks it");
                return;
            }
        };
        let now = node.now();
        let mut others = Vec::new();
        for (id, record) in &found {
            let Some((stamp, _)) = users.index.watched(&record.session) else { continue };
            let idle_limit = Duration::from_millis(record.session.idle_limit().ms);
            others.push(UserSession {
                id: *id,
                since: stamp,
                idle: Duration::from_millis(record.idle_ms(now)),
                idle_limit,
            });
        }
        let allowed = usize::try_from(node.config.max_sessions_per_user).unwrap_or(usize::MAX);
        let chosen = surplus(others, since, allowed);
        let chosen = found.into_iter().filter(|(id, _)| chosen.contains(id));
        let surplus: Vec<_> = chosen.map(|(id, record)| (id, Some(record))).collect();
        node.telemetry.counters.user_limit_ended.fetch_add(surplus.len() as u64, Ordering::Relaxed);
        let ended = end_each(node, surplus, || Wait::for_owners(node)).await;
        if !ended.unconfirmed.is_empty() {
            warn!(sessions = ?ended.unconfirmed, "ended by the limit on the sessions of a user, not acknowledged everywhere");
        }
    }
}
