//! Questions to a peer, and the replies to them.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::Message;
use sessionmesh_core::wire::version::Version;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::state::node::Node;
use super::state::peer::Peer;
use crate::lock::lock;

/// How often it is looked whether a peer that was asked has fallen silent.
const LOOK: Duration = Duration::from_millis(20);

/// A question that was put to a peer.
#[derive(Debug)]
pub(crate) struct Request {
    peer: Arc<Peer>,
    reply: oneshot::Receiver<Vec<u8>>,
    version: Version,
}

/// What a peer replied. It is decoded where it is used, since keys and values are borrowed from it.
#[derive(Debug)]
pub(crate) struct Reply(Vec<u8>, Version);

/// Puts a question to `peer`. `None` if there is no link to it, or no room in the queue for it.
pub(crate) fn ask(peer: &Arc<Peer>, question: impl FnOnce(u64) -> Message<'static>) -> Option<Request> {
    let (reply, version) = peer.ask(question)?;
    Some(Request { peer: peer.clone(), reply, version })
}

impl Request {
    /// The reply; `None` if the peer falls silent, its link breaks, or the deadline comes before.
    pub(crate) async fn reply(mut self, node: &Node, deadline: Instant) -> Option<Reply> {
        loop {
            match timeout_at(deadline.min(Instant::now() + LOOK), &mut self.reply).await {
                Ok(reply) => return reply.ok().map(|bytes| Reply(bytes, self.version)),
                Err(_) if Instant::now() >= deadline || is_silent(node, &self.peer) => return None,
                Err(_) => {}
            }
        }
    }
}

impl Reply {
    /// `None` for bytes that are no message.
    pub(crate) fn message(&self) -> Option<Message<'_>> {
        codec::decode(&self.0, self.1).ok()
    }
}

/// Whether `peer` gives no sign of life, so that its reply is not waited for.
pub(crate) fn is_silent(node: &Node, peer: &Peer) -> bool {
    let now = node.now();
    node.is_awake(now) && lock(&peer.liveness).is_silent(&node.timing, now)
}
