//! What each member holds of one session, for operators. Not an access, and nothing is decided by it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sessionmesh_core::id::SessionId;
use sessionmesh_core::session::{Record, Status};
use sessionmesh_core::wire::message::{Held, Message, ReadQuery};
use tokio::time::Instant;

use crate::engine::request::{self, Reply};
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::session_copy::{CopyContent, CopyState, SessionCopy};

/// Asks all members, for at most a read deadline. By name.
pub(crate) async fn of(node: &Arc<Node>, id: SessionId) -> Vec<SessionCopy> {
    let topology = node.topology();
    let deadline = Instant::now() + node.config.read_deadline;
    let mine = node.store.get(id).map(|entry| entry.into_record());
    let digest = mine.as_ref().map_or(0, |record| record.session.digest());
    let ask = async |peer: &Arc<Peer>| {
        let question = |request| Message::ReadQuery(ReadQuery { request, id, digest, access: false });
        let reply = request::ask(peer, question)?.reply(node, deadline).await?;
        held_by(&reply, mine.as_ref(), node)
    };
    let replies = join_all(topology.peers().map(async |peer| (peer.member.name.clone(), ask(peer).await))).await;
    let owners: Vec<_> =
        topology.slots.owners(id.slot()).iter().map(|at| &topology.view.members()[usize::from(*at)]).collect();
    let copy = |name: Arc<str>, state: Option<CopyState>| SessionCopy {
        is_primary: owners.first().is_some_and(|owner| owner.name == name),
        is_owner: owners.iter().any(|owner| owner.name == name),
        node: name,
        state: state.unwrap_or(CopyState::NoAnswer),
    };
    let own = state_of(mine.as_ref(), node);
    let mut copies = vec![copy(Arc::from(node.config.name.as_str()), Some(own))];
    copies.extend(replies.into_iter().map(|(name, state)| copy(name, state)));
    copies.sort_by(|one, other| one.node.cmp(&other.node));
    copies
}

fn held_by(reply: &Reply, mine: Option<&Record>, node: &Node) -> Option<CopyState> {
    let Some(Message::ReadReply(reply)) = reply.message() else { return None };
    Some(match &reply.held {
        Held::Nothing | Held::Abstains => CopyState::Nothing,
        Held::Same { age_ms } => {
            let mut record = mine?.clone();
            record.access = node.now().minus_ms(*age_ms);
            state_of(Some(&record), node)
        }
        Held::This(delta) => {
            let mut record = None;
            delta.apply(&mut record, node.now());
            state_of(record.as_ref(), node)
        }
    })
}

fn state_of(record: Option<&Record>, node: &Node) -> CopyState {
    let Some(record) = record else { return CopyState::Nothing };
    let session = &record.session;
    let content = || CopyContent {
        digest: session.digest(),
        revision: session.revision().counter,
        idle: Duration::from_millis(record.idle_ms(node.now())),
        max_inactive: Duration::from_millis(session.idle_limit().ms),
        created_ms: session.created_ms(),
        attributes: session.live().count(),
        bytes: session.bytes(),
    };
    match record.status() {
        Status::Live => CopyState::Live(content()),
        Status::Expired => CopyState::Expired(content()),
        Status::Invalidated { successor } => {
            CopyState::Ended { digest: session.digest(), has_successor: successor.is_some() }
        }
    }
}
