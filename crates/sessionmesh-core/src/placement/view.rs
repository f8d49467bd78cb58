//! Who is in the cluster, as one node sees it.

use std::{cmp::Reverse, fmt, net::SocketAddr, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

use crate::id::NodeHash;
use crate::terms::Terms;

#[cfg(test)]
mod tests;

/// The most members that a view holds; it bounds the placement table to 8 MiB.
pub const MEMBERS_MAX: usize = 1024;

/// The phase of the life of a member. The order is the order of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It owns its slots, but has not received everything in them yet.
    Joining,
    /// It has received everything in its slots.
    Ready,
    /// It is handing over and will stop. It owns nothing as long as any other member is left.
    Leaving,
}

/// One running process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The stable name, the same after a restart. Placement depends on it.
    pub name: Arc<str>,
    /// Larger with each start of the process under this name. A new incarnation is an empty node.
    pub incarnation: u64,
    /// The address of its replication port.
    pub addr: SocketAddr,
    /// The failure domain, such as a rack or an availability zone; empty if unknown.
    pub zone: Arc<str>,
    /// The phase of its life.
    pub state: MemberState,
    /// Its settings that concern all members. They stay the same for the whole life of an incarnation.
    pub terms: Terms,
}

impl Member {
    /// The hash of name and incarnation, as stamps carry it.
    #[must_use]
    pub fn node(&self) -> NodeHash {
        NodeHash::of(&self.name, self.incarnation)
    }
}

/// All of a view that placement depends on, in 64 bits. Part of the protocol.
///
/// Two nodes with the same hash name the same owners for every slot.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    wincode::SchemaWrite,
    wincode::SchemaRead,
)]
pub struct ViewHash(pub u64);

impl ViewHash {
    fn of(members: &[Member], in_force: &Terms) -> Self {
        let mut bytes = Vec::new();
        for member in members {
            for text in [&member.name, &member.zone] {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            bytes.extend(member.incarnation.to_le_bytes());
            bytes.push(u8::from(member.state == MemberState::Leaving));
        }
        bytes.push(in_force.mode.number());
        Self(xxh3_64(&bytes))
    }
}

impl fmt::Debug for ViewHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewHash({:016x})", self.0)
    }
}

/// The members of the cluster at one moment, sorted by name. It never holds a name twice and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    members: Vec<Member>,
    in_force: Terms,
    hash: ViewHash,
}

impl View {
    /// The view of these members, in whatever order they come.
    ///
    /// Of several members with one name the newest incarnation stays; of equal incarnations the one furthest in its
    /// life, then the one with the smallest address and zone. Beyond [`MEMBERS_MAX`], the last names are left out.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_unstable_by(|a, b| {
            let rank = |m: &Member| (Reverse(m.incarnation), Reverse(m.state), m.addr);
            a.name.cmp(&b.name).then_with(|| rank(a).cmp(&rank(b))).then_with(|| a.zone.cmp(&b.zone))
        });
        members.dedup_by(|later, kept| later.name == kept.name);
        members.truncate(MEMBERS_MAX);
        let in_force = members.iter().map(|member| member.terms).reduce(Terms::largest).unwrap_or(Terms::NONE);
        let hash = ViewHash::of(&members, &in_force);
        Self { members, in_force, hash }
    }

    /// The members, sorted by name. Slots name members by their index in this slice.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.find(name).map(|at| &self.members[at])
    }

    /// The index in [`View::members`] of the member of this name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<u16> {
        self.find(name).map(|at| u16::try_from(at).expect("MEMBERS_MAX fits in 16 bits"))
    }

    /// What is in force for all members: of each of their terms the largest. Those of leaving members count, too: until
    /// they are gone others go by them.
    #[must_use]
    pub fn in_force(&self) -> &Terms {
        &self.in_force
    }

    /// The shortest time, in milliseconds, for which a member may have kept tombstones that it made while it saw no other
    /// one: who was away for longer may have missed ends of which nobody knows any more.
    #[must_use]
    pub fn shortest_retention_ms(&self) -> u64 {
        self.members.iter().map(|member| member.terms.tombstone_retention_ms).min().unwrap_or(0)
    }

    /// The hash of (name, incarnation, zone, whether it is leaving) of all members, and of the mode in force.
    ///
    /// Joining or ready makes no difference to it, nor does the address, because neither changes an owner.
    #[must_use]
    pub fn hash(&self) -> ViewHash {
        self.hash
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.members.binary_search_by(|member| (*member.name).cmp(name)).ok()
    }
}
