//! What is learned about members outside of gossip.

use crate::id::NodeHash;

/// What a link, or this node itself, learned about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Its port refuses connections: the process is gone.
    Refused(NodeHash),
    /// The link is up.
    Connected(NodeHash),
    /// Another incarnation or another node answers at its address.
    Replaced(NodeHash),
    /// It says that it is leaving.
    Leaving(NodeHash),
    /// It has left.
    Left(NodeHash),
    /// This node has all that it must hold, since it joined for the time with this number (it joins anew after it discarded what it held).
    Ready(u64),
    /// This node hands over what it holds, and will stop.
    LeavingMyself,
}
