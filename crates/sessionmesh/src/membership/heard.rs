//! What is heard about other members.

use std::net::SocketAddr;
use std::sync::Arc;

use sessionmesh_core::terms::Terms;

/// What a member says it is doing, in the order of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HeardState {
    /// Looks around, takes no part yet. Every member starts here.
    Probing,
    /// Takes part and fetches what it should hold.
    Joining,
    /// Holds what it should.
    Ready,
    /// Hands over what it holds.
    Leaving,
    /// Holds nothing any more and is about to stop.
    Left,
}

impl HeardState {
    pub(super) const ALL: [Self; 5] = [Self::Probing, Self::Joining, Self::Ready, Self::Leaving, Self::Left];

    /// The word for it on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Probing => "probing",
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }

    /// The state with this word, unless a later version says it.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What gossip says about one incarnation of another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) name: Arc<str>,
    /// Tells lives of one name apart; higher is later.
    pub(crate) incarnation: u64,
    /// Where it receives gossip (UDP) and replication (TCP).
    pub(crate) addr: SocketAddr,
    pub(crate) zone: Arc<str>,
    pub(crate) state: HeardState,
    pub(crate) terms: Terms,
    /// Whether the failure detector hears it.
    pub(crate) alive: bool,
    /// Heartbeats it has counted. More than before: it lived meanwhile.
    pub(crate) heartbeat: u64,
}

/// Whether two views differ in nothing but heartbeats.
pub(super) fn same_but_heartbeats(one: &[Heard], two: &[Heard]) -> bool {
    let same = |(one, two): (&Heard, &Heard)| *one == Heard { heartbeat: one.heartbeat, ..two.clone() };
    one.len() == two.len() && one.iter().zip(two).all(same)
}
