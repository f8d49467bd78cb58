//! What gossip says about other members.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::NodeHash;
use crate::terms::Terms;
use crate::wire::version::Versions;

/// What a member says it is doing, in the order of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GossipState {
    /// Looks around, takes no part yet. Every member starts here.
    Starting,
    /// Takes part and fetches what it should hold.
    Joining,
    /// Holds what it should.
    Ready,
    /// Hands over what it holds.
    Leaving,
    /// Holds nothing any more and is about to stop.
    Left,
}

impl GossipState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Joining, Self::Ready, Self::Leaving, Self::Left];

    /// The word for it on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            // Part of the protocol.
            Self::Starting => "probing",
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }

    /// The state with this word, unless a later version says it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What gossip says about one incarnation of another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Tells lives of one name apart; higher is later.
    pub incarnation: u64,
    /// Where it receives gossip (UDP) and replication (TCP).
    pub addr: SocketAddr,
    /// Its failure zone; empty for none.
    pub zone: Arc<str>,
    /// What it does.
    pub state: GossipState,
    /// What it says about things that concern all members.
    pub terms: Terms,
    /// Which versions of the protocol it speaks.
    pub versions: Versions,
    /// Whether the failure detector hears it.
    pub alive: bool,
    /// Heartbeats it has counted. More than before: it lived meanwhile.
    pub heartbeat: u64,
}

impl MemberInfo {
    /// Its hash.
    #[must_use]
    pub fn node(&self) -> NodeHash {
        NodeHash::of(&self.name, self.incarnation)
    }

    /// Whether it runs, as far as gossip knows, and has not left.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.alive && self.state != GossipState::Left
    }

    /// Whether it takes part in the cluster.
    #[must_use]
    pub const fn takes_part(&self) -> bool {
        matches!(self.state, GossipState::Joining | GossipState::Ready | GossipState::Leaving)
    }
}

/// Who keeps a node that speaks `ours` from joining under this name, as life number `incarnation`: a member that was there
/// before and that it cannot talk with. Members that none of those understands with which it can talk are another cluster by
/// now.
#[must_use]
pub fn barrier<'a>(ours: Versions, name: &str, incarnation: u64, gossip: &'a [MemberInfo]) -> Option<&'a MemberInfo> {
    let was_before = |info: &&MemberInfo| match info.state {
        GossipState::Starting | GossipState::Left => false,
        // Of two that join at once the later one gives way.
        GossipState::Joining => info.incarnation < incarnation,
        GossipState::Ready | GossipState::Leaving => true,
    };
    let there = gossip.iter().filter(|info| *info.name != *name && info.is_there()).filter(was_before);
    let (understood, strange): (Vec<_>, Vec<_>) = there.partition(|info| ours.understand(info.versions));
    let is_with_us = |strange: &&MemberInfo| {
        understood.is_empty() || understood.iter().any(|info| info.versions.understand(strange.versions))
    };
    strange.into_iter().find(is_with_us)
}

/// Whether two views differ in nothing but heartbeats.
#[must_use]
pub fn same_but_heartbeats(one: &[MemberInfo], two: &[MemberInfo]) -> bool {
    let same = |(one, two): (&MemberInfo, &MemberInfo)| *one == MemberInfo { heartbeat: one.heartbeat, ..two.clone() };
    one.len() == two.len() && one.iter().zip(two).all(same)
}
