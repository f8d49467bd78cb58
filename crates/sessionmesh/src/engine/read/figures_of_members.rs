//! What the members hold and have done, each by its own word, for operators.

use std::sync::Arc;

use futures::future::join_all;
use sessionmesh_core::id::NodeHash;
use sessionmesh_core::wire::message::{Figures, FiguresQuery, FiguresReply, Message};
use tokio::time::Instant;

use crate::engine::request::{self, Reply};
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::stats::collect;

/// Asks all members, for at most a read deadline. By name; nothing of who does not answer.
pub(crate) async fn of(node: &Arc<Node>) -> Vec<(Arc<str>, Option<Figures>)> {
    let topology = node.topology();
    let deadline = Instant::now() + node.config.read_deadline;
    let ask = async |peer: &Arc<Peer>| {
        let question = |request| Message::FiguresQuery(FiguresQuery { request });
        let reply = request::ask(peer, question)?.reply(node, deadline).await?;
        figures_in(&reply)
    };
    let mut all = join_all(topology.peers().map(async |peer| (peer.member.name.clone(), ask(peer).await))).await;
    all.push((Arc::from(node.config.name.as_str()), Some(own(node))));
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn figures_in(reply: &Reply) -> Option<Figures> {
    match reply.message() {
        Some(Message::FiguresReply(reply)) => Some(reply.figures),
        _ => None,
    }
}

/// Answers a member. Strangers are told nothing.
pub(crate) fn answer(node: &Node, from: NodeHash, ask: FiguresQuery) -> Option<FiguresReply> {
    node.cluster.topology.load().peer(from)?;
    Some(FiguresReply { request: ask.request, figures: own(node) })
}

fn own(node: &Node) -> Figures {
    let stats = collect::of(node);
    Figures {
        primary: stats.primary as u64,
        replica: stats.replica as u64,
        ended: stats.ended as u64,
        bytes: stats.bytes,
        waiting: stats.outbox as u64,
        commits: stats.commits,
        local_reads: stats.local_reads,
        remote_reads: stats.remote_reads,
        cannot_tell: stats.cannot_tell,
        late_ms: stats.late_ms,
    }
}
