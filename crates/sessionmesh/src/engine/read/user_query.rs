//! Finding the sessions of a user: every member is asked, and the answers are believed only if they are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::message::{AskUser, Message, ToldUser, USER_IDS_MAX};
use sessionmesh_core::session::Record;
use sessionmesh_core::users::UserKey;
use sessionmesh_core::view::{NodeHash, ViewHash};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::engine::read::{self, ROUND};
use crate::engine::request;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::store::user_index::Users;
use crate::engine::state::topology::Topology;
use crate::error::UserError;

/// Sessions of one user that are listed at most. Somebody who has more is no user.
const USER_SESSIONS_MAX: usize = 65_536;
/// Sessions that are read at the same time.
const READS_MAX: usize = 64;

/// The rule and the local index, if this node has one.
pub(crate) fn users(node: &Node) -> Result<&Users, UserError> {
    node.store.users().ok_or(UserError::NoIndex)
}

/// All live sessions of `user`, by id.
pub(crate) async fn sessions_of(node: &Arc<Node>, user: &str) -> Result<BTreeMap<SessionId, Record>, UserError> {
    let users = users(node)?;
    let ids = ids_of(node, users, UserKey::of(user)).await?;
    let reads = ids.into_iter().map(|id| read::resolve(node, id));
    let mut reads = stream::iter(reads).buffer_unordered(READS_MAX);
    let mut found = BTreeMap::new();
    while let Some(read) = reads.next().await {
        let (id, record) = read?;
        // Copies may be old, and keys may collide, so the session itself has the last word.
        if let Some(record) = record.filter(|record| users.index.user_of(&record.session).as_deref() == Some(user)) {
            found.insert(id, record);
        }
    }
    Ok(found)
}

/// Lets this node's logical clock catch up with all members, so that what it changes next counts as later than what was
/// acknowledged anywhere before. Whoever has not answered by the deadline is not waited for.
pub(crate) async fn catch_up(node: &Arc<Node>, users: &Users, user: UserKey, deadline: Instant) {
    let _ = call(node, users, user, deadline.min(Instant::now() + node.config.read_deadline)).await;
}

/// The ids under which sessions of `user` are held anywhere. Some may have ended.
async fn ids_of(node: &Arc<Node>, users: &Users, user: UserKey) -> Result<BTreeSet<SessionId>, UserError> {
    node.telemetry.counters.user_queries.fetch_add(1, Ordering::Relaxed);
    let deadline = Instant::now() + node.config.read_deadline;
    loop {
        if node.lifecycle.stop.is_cancelled() {
            return Err(UserError::CannotTell { why: "this node has left the cluster", ended: 0 });
        }
        let round = call(node, users, user, deadline).await;
        let why = match round.incomplete() {
            None if round.ids.len() > USER_SESSIONS_MAX || round.cut => {
                return Err(UserError::TooMany { allowed: USER_SESSIONS_MAX });
            }
            None => return Ok(round.ids),
            Some(why) => why,
        };
        if Instant::now() >= deadline {
            node.telemetry.counters.cannot_tell.fetch_add(1, Ordering::Relaxed);
            return Err(UserError::CannotTell { why, ended: 0 });
        }
        let _ = node.lifecycle.stop.run_until_cancelled(sleep_until(deadline.min(Instant::now() + ROUND))).await;
    }
}

/// What came of asking everybody once.
struct Round {
    topology: Arc<Topology>,
    ids: BTreeSet<SessionId>,
    /// Members that told all they hold, and know that they have missed nothing, under this node's view.
    current: BTreeSet<NodeHash>,
    /// A change of the view was settling.
    settling: bool,
    /// Somebody who gave signs of life did not answer.
    missing: bool,
    /// Of some slots all copies may have vanished.
    blind: bool,
    /// A list was cut short.
    cut: bool,
}

impl Round {
    /// Why the ids may not be all there are.
    ///
    /// An owner that is current holds every session of its slots that was acknowledged, so one for each slot suffices.
    /// While the view changes, those who owned a slot before are heard, too.
    fn incomplete(&self) -> Option<&'static str> {
        if self.blind {
            return Some("more nodes vanished than there are copies");
        }
        if self.settling && self.missing {
            return Some("the cluster is changing, and not all nodes answered");
        }
        let covered = |slot| self.topology.owner_nodes(slot).iter().any(|owner| self.current.contains(owner));
        let all = self.topology.view.members().iter().all(|member| self.current.contains(&member.node()));
        (!all && !Slot::all().all(covered)).then_some(
            "of some sessions no owner answered that is up to date and tells whose a session is by the same rule",
        )
    }

    fn hear(&mut self, from: NodeHash, told: Option<Pages>, silent: bool) {
        let Some(pages) = told else {
            self.missing |= !silent;
            return;
        };
        self.ids.extend(pages.ids);
        self.cut |= pages.cut;
        if pages.current {
            self.current.insert(from);
        }
    }
}

/// Asks all members, and those of earlier views while a change of it settles.
async fn call(node: &Arc<Node>, users: &Users, user: UserKey, deadline: Instant) -> Round {
    let now = node.now();
    let (topology, blind) = read::with_topology(node, |lost, topology| lost.hides_any(topology.view.len(), now));
    let settling = node.is_in_transition(&topology, now);
    let mut round = Round {
        topology: topology.clone(),
        ids: BTreeSet::new(),
        current: BTreeSet::new(),
        settling,
        missing: !node.is_awake(now),
        blind,
        cut: false,
    };
    let mut answers = FuturesUnordered::new();
    for peer in topology.peers().chain(&topology.former) {
        let question = Question { rule: users.index.fingerprint(), user, view: topology.hash(), deadline };
        let silent = request::is_silent(node, peer);
        answers.push(async move {
            let told = if silent { None } else { question.put_to(node, peer).await };
            (peer, told)
        });
    }
    let current = node.is_current(&topology, now);
    let (ids, cut) = users.page(user, None, USER_SESSIONS_MAX);
    round.hear(node.identity.hash, Some(Pages { ids, current, cut }), false);
    while let Some((peer, told)) = answers.next().await {
        round.hear(peer.node, told, request::is_silent(node, peer));
    }
    round
}

/// All that one node holds of a user.
struct Pages {
    ids: Vec<SessionId>,
    current: bool,
    cut: bool,
}

#[derive(Clone, Copy)]
struct Question {
    rule: u64,
    user: UserKey,
    view: ViewHash,
    deadline: Instant,
}

impl Question {
    /// Asks for page after page. None if `peer` falls silent or breaks the protocol.
    async fn put_to(self, node: &Node, peer: &Arc<Peer>) -> Option<Pages> {
        let mut pages = Pages { ids: Vec::new(), current: true, cut: false };
        loop {
            let (rule, user, after) = (self.rule, self.user, pages.ids.last().copied());
            let request = request::ask(peer, |request| Message::AskUser(AskUser { request, rule, user, after }))?;
            let reply = request.reply(node, self.deadline).await?;
            let Some(Message::ToldUser(told)) = reply.message() else { return None };
            if !is_page(&told, after) {
                warn!(peer = %peer.member.name, "an impossible list of sessions of a user; it counts as no answer");
                return None;
            }
            node.replication.lamport.observe(told.counter);
            pages.current &= told.current && ViewHash(told.view) == self.view;
            pages.ids.extend(told.ids);
            pages.cut = told.more && pages.ids.len() >= USER_SESSIONS_MAX;
            if !told.more || pages.cut {
                return Some(pages);
            }
        }
    }
}

/// Whether `told` can be the page after `after`: so the pages come to an end.
fn is_page(told: &ToldUser, after: Option<SessionId>) -> bool {
    let ascending = told.ids.is_sorted_by(|one, next| one < next);
    let goes_on = told.ids.first().is_none_or(|first| after.is_none_or(|after| after < *first));
    ascending && goes_on && told.ids.len() <= USER_IDS_MAX && (!told.more || !told.ids.is_empty())
}

/// Answers a question of another node. Who is no member gets no ids: to have one is to be logged in.
pub(crate) fn tell(node: &Node, from: NodeHash, ask: &AskUser) -> ToldUser {
    let topology = node.cluster.topology.load();
    let member = topology.peer(from).is_some();
    // Before the list: what is acknowledged without this node afterwards is not missed by it.
    let current = node.is_current(&topology, node.now());
    let users = node.store.users().filter(|users| member && users.index.fingerprint() == ask.rule);
    if member && users.is_none() {
        debug!("a node with another user index asked for the sessions of a user; it will say that it cannot tell");
    }
    let (ids, more) = users.map_or_else(Default::default, |users| users.page(ask.user, ask.after, USER_IDS_MAX));
    node.telemetry.counters.user_ids_told.fetch_add(ids.len() as u64, Ordering::Relaxed);
    ToldUser {
        request: ask.request,
        view: topology.hash().0,
        counter: node.replication.lamport.now(),
        current: current && users.is_some(),
        ids,
        more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    #[test]
    fn only_pages_that_come_to_an_end_are_believed() {
        let told = |ids: &[u8], more| {
            let ids = ids.iter().map(|number| id(*number)).collect();
            ToldUser { request: 1, view: 2, counter: 3, current: true, ids, more }
        };
        assert!(is_page(&told(&[], false), None));
        assert!(is_page(&told(&[1, 2], true), None));
        assert!(is_page(&told(&[4], true), Some(id(3))));
        assert!(!is_page(&told(&[], true), Some(id(3))), "the same again and again");
        assert!(!is_page(&told(&[3], true), Some(id(3))));
        assert!(!is_page(&told(&[2, 1], false), None));
        assert!(!is_page(&told(&[1, 1], false), None));
        let mut long = told(&[], false);
        long.ids = (0..=u32::try_from(USER_IDS_MAX).unwrap()).map(numbered).collect();
        assert!(!is_page(&long, None));
    }

    fn numbered(number: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SessionId::from_bytes(bytes)
    }
}
