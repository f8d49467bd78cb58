//! Finding the sessions of a user: every member is asked, and the answers are believed only if they are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use sessionmesh_core::id::{NodeHash, SessionId};
use sessionmesh_core::placement::view::ViewHash;
use sessionmesh_core::read::user_round::{Page, UserList, UserQueryRound};
use sessionmesh_core::session::Record;
use sessionmesh_core::users::UserKey;
use sessionmesh_core::wire::message::{Message, USER_IDS_MAX, UserQuery, UserReply};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::engine::read::{self, ASK_AGAIN};
use crate::engine::request;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::store::user_index::SessionsByUser;
use crate::engine::state::topology::Topology;
use crate::error::UserError;
use crate::event::Event;

/// Sessions of one user that are listed at most. Somebody who has more is no user.
const USER_SESSIONS_MAX: usize = 65_536;
/// Sessions that are read at the same time.
const READS_MAX: usize = 64;

/// The rule and the local index, if this node has one.
pub(crate) fn users(node: &Node) -> Result<&SessionsByUser, UserError> {
    node.store.users().ok_or(UserError::NoIndex)
}

/// The sessions of a user.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Those that live.
    pub(crate) live: BTreeMap<SessionId, Record>,
    /// Those that are over, and that some node does not know to be yet.
    pub(crate) over: BTreeSet<SessionId>,
}

/// All sessions of `user`.
pub(crate) async fn sessions_of(node: &Arc<Node>, user: &str) -> Result<Listed, UserError> {
    let users = users(node)?;
    let ids = ids_of(node, users, UserKey::of(user)).await?;
    let reads = ids.into_iter().map(|id| read::resolve(node, id, read::deadline_of_a_read(node)));
    let mut reads = stream::iter(reads).buffer_unordered(READS_MAX);
    let mut found = Listed::default();
    while let Some(read) = reads.next().await {
        match read? {
            // Copies may be old, and keys may collide, so the session itself has the last word.
            (id, Some(record)) if users.index.user_of(&record.session).as_deref() == Some(user) => {
                found.live.insert(id, record);
            }
            (_, Some(_)) => {}
            (id, None) => {
                found.over.insert(id);
            }
        }
    }
    Ok(found)
}

/// Lets this node's logical clock catch up with all members, so that what it changes next counts as later than what was
/// acknowledged anywhere before. Whoever has not answered by the deadline is not waited for.
pub(crate) async fn catch_up(node: &Arc<Node>, users: &SessionsByUser, user: UserKey, deadline: Instant) {
    let _ = ask_all(node, users, user, deadline.min(Instant::now() + node.config.read_deadline)).await;
}

/// The ids under which sessions of `user` are held anywhere. Some may have ended.
async fn ids_of(node: &Arc<Node>, users: &SessionsByUser, user: UserKey) -> Result<BTreeSet<SessionId>, UserError> {
    node.telemetry.counters.user_queries.fetch_add(1, Ordering::Relaxed);
    let deadline = Instant::now() + node.config.read_deadline;
    loop {
        if node.lifecycle.stop.is_cancelled() {
            return Err(UserError::CannotTell { why: "this node has left the cluster", ended: 0 });
        }
        let (topology, round) = ask_all(node, users, user, deadline).await;
        let why = match round.incomplete(&topology) {
            None if round.is_too_long(USER_SESSIONS_MAX) => {
                return Err(UserError::TooMany { allowed: USER_SESSIONS_MAX });
            }
            None => return Ok(round.into_ids()),
            Some(why) => why,
        };
        if Instant::now() >= deadline {
            node.emit(Event::CannotTell { why });
            return Err(UserError::CannotTell { why, ended: 0 });
        }
        let _ = node.lifecycle.stop.run_until_cancelled(sleep_until(deadline.min(Instant::now() + ASK_AGAIN))).await;
    }
}

/// Asks all members, and those of earlier views while a change of it settles.
async fn ask_all(
    node: &Arc<Node>,
    users: &SessionsByUser,
    user: UserKey,
    deadline: Instant,
) -> (Arc<Topology>, UserQueryRound) {
    let now = node.now();
    let (topology, blind) = read::with_topology(node, |lost, topology| lost.hides_any(topology.view.len(), now));
    let mut round = UserQueryRound::new(node.is_in_transition(&topology, now), node.is_awake(now), blind);
    let mut lists = FuturesUnordered::new();
    for peer in topology.peers().chain(&topology.former) {
        let question = Question { rule: users.index.fingerprint(), user, view: topology.hash(), deadline };
        let silent = request::is_silent(node, peer);
        lists.push(async move { (peer, if silent { None } else { question.put_to(node, peer).await }) });
    }
    let current = node.is_current(&topology, now);
    let (ids, cut) = users.page(user, None, USER_SESSIONS_MAX);
    round.on_list(node.identity.hash, UserList { ids, current, cut });
    while let Some((peer, list)) = lists.next().await {
        match list {
            Some(list) => round.on_list(peer.node, list),
            None => round.on_no_list(request::is_silent(node, peer)),
        }
    }
    drop(lists);
    (topology, round)
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
    async fn put_to(self, node: &Node, peer: &Arc<Peer>) -> Option<UserList> {
        let mut list = UserList::new();
        loop {
            let (rule, user, after) = (self.rule, self.user, list.after());
            let request = request::ask(peer, |request| Message::UserQuery(UserQuery { request, rule, user, after }))?;
            let reply = request.reply(node, self.deadline).await?;
            let Some(Message::UserReply(told)) = reply.message() else { return None };
            let counter = told.counter;
            match list.add(told, self.view, USER_SESSIONS_MAX) {
                Page::Impossible => {
                    warn!(peer = %peer.member.name, "an invalid list of a user's sessions; it counts as no answer");
                    return None;
                }
                page => {
                    node.replication.lamport.observe(counter);
                    if page == Page::Last {
                        return Some(list);
                    }
                }
            }
        }
    }
}

/// Answers a question of another node. Who is no member gets no ids: to have one is to be logged in.
pub(crate) fn answer(node: &Node, from: NodeHash, ask: &UserQuery) -> UserReply {
    let topology = node.cluster.topology.load();
    let member = topology.peer(from).is_some();
    // Before the list: what is acknowledged without this node afterwards is not missed by it.
    let current = node.is_current(&topology, node.now());
    let users = node.store.users().filter(|users| member && users.index.fingerprint() == ask.rule);
    if member && users.is_none() {
        debug!("a node with another user index asked for a user's sessions; it will report \"cannot tell\"");
    }
    let (ids, more) = users.map_or_else(Default::default, |users| users.page(ask.user, ask.after, USER_IDS_MAX));
    node.telemetry.counters.user_ids_told.fetch_add(ids.len() as u64, Ordering::Relaxed);
    UserReply {
        request: ask.request,
        view: topology.hash().0,
        counter: node.replication.lamport.now(),
        current: current && users.is_some(),
        ids,
        more,
    }
}
