//! What is left to do after a merge, or after a session was ended here: computed as data, done by whoever has tasks and peers.

use crate::coverage::{self, Path};
use crate::entry::Entry;
use crate::expiry::Role;
use crate::failpoint::{self, Bug};
use crate::id::SessionId;
use crate::moment::Moment;
use crate::replication::delta::{Content, Delta, WireAttribute, WireEnd};
use crate::session::{Attribute, Invalidated, Session, Status, Successor};
use crate::stamp::Stamp;
use crate::wire::message::CopyState;

/// What matters of a session before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether it lives; none if nothing was held.
    pub status: Option<Status>,
    /// Its last access.
    pub access: Option<Moment>,
}

impl Snapshot {
    /// Of what is held.
    #[must_use]
    pub fn of(entry: Option<&Entry>) -> Self {
        Self { status: entry.map(|entry| entry.record().status()), access: entry.map(|entry| entry.record().access) }
    }

    /// The end for good, and what it was for, if it has ended so.
    const fn end(self) -> Option<Option<Successor>> {
        match self.status {
            Some(Status::Invalidated { successor }) => Some(successor),
            _ => None,
        }
    }
}

/// What is left to do after the tombstones of a slot were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotEffects {
    /// Forward them to the owners.
    pub forward: bool,
    /// Send all tombstones of the slot to whoever sent these.
    pub send_back: bool,
    /// How this node holds them.
    pub copy: CopyState,
}

/// `changed`: some were news. `newer`: this node holds more than the sender. `from_outside`: as in [`Merged`].
#[must_use]
pub const fn after_tombstones(is_owner: bool, changed: bool, newer: bool, from_outside: bool) -> SlotEffects {
    let copy = if is_owner { CopyState::Kept } else { CopyState::InTransit };
    SlotEffects { forward: changed && (!is_owner || from_outside), send_back: newer, copy }
}

/// One delta was merged.
#[derive(Debug)]
pub struct Merged<'a> {
    /// What came.
    pub delta: &'a Delta<'a>,
    /// What was held before.
    pub before: Snapshot,
    /// What is held now.
    pub after: Snapshot,
    /// What was written here before, if it is a tombstone that came.
    pub overtaken: Vec<Attribute>,
    /// It was news.
    pub changed: bool,
    /// This node holds something that the sender lacks.
    pub newer: bool,
    /// The session was past its limit, and lives on because of what came.
    pub reprieved: bool,
    /// What this node is to the session.
    pub role: Role,
    /// The sender is no member of the view: it may have died since, and only what its system had still to send arrives. So the
    /// other owners may never hear of it from anybody else.
    pub from_outside: bool,
}

/// What is left to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What was written to an id that has been renewed, or has moved, is merged into its successor.
    pub late_writes: Option<(SessionId, Vec<Attribute>)>,
    /// The session may be used again: the verdict on its end has come, if one was awaited.
    pub lift_hold: bool,
    /// Listeners are told of the end.
    pub announcement: Option<Announcement>,
    /// The other owners are told that the session was used.
    pub propagate_access: bool,
    /// This session ends, and what it holds is merged into the other one, if there is one.
    pub loser: Option<(SessionId, Option<Successor>)>,
    /// The other owners get it from this node, which only passes it on, or has it from outside the view.
    pub forward: Option<Stamp>,
    /// The sender gets what it lacks.
    pub send_back: bool,
}

/// How a session ended, for listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// For good.
    Invalidated,
    /// It goes on under another id.
    Renewed(SessionId),
    /// It has moved to another id.
    Moved(SessionId),
}

/// What follows from a merge.
#[must_use]
pub fn after_merge(merged: Merged<'_>) -> Effects {
    let Merged { delta, before, after, overtaken, changed, newer, reprieved, role, from_outside } = merged;
    // A write that was under way when the id was renewed follows the pointer: one that comes after the tombstone, and
    // one that is here already when the tombstone comes.
    let late_writes = after.end().flatten().and_then(|successor| {
        let late = match &delta.content {
            Content::Session { attributes, .. } => attributes.iter().map(WireAttribute::to_attribute).collect(),
            Content::Tombstone(_) => overtaken,
        };
        follows(successor, late).filter(|_| !failpoint::planted(Bug::RenewalForgetsLateWrites))
    });
    // Also if nothing changed here: the node that made the losing end may have let go of it already, and then never sees
    // the two meet.
    let loser = match (&delta.content, before.end()) {
        (Content::Tombstone(WireEnd { successor: came, .. }), Some(was)) => ends_met(was, *came),
        _ => None,
    };
    // Those that agreed to its end wait for the verdict, and this is it.
    let propagate_access = reprieved && role == Role::Primary && !failpoint::planted(Bug::RefusalNotTold);
    coverage::reached_if(Path::Reprieved, || propagate_access);
    coverage::reached_if(Path::FromOutside, || from_outside && role != Role::Stranger && changed);
    let passes_on = (role == Role::Stranger || from_outside) && (changed || before.access != after.access);
    Effects {
        late_writes,
        lift_hold: changed || reprieved,
        announcement: if changed { announcement(before, after, role) } else { None },
        propagate_access,
        loser,
        forward: passes_on.then_some(if changed { delta.from } else { Stamp::DIGEST_ONLY }),
        send_back: newer,
    }
}

/// What follows when this node ends a session for good, as `successor` if it goes on. `overtaken` is what the session held,
/// if it lived here; `was` its end before, if it had ended.
#[must_use]
pub fn after_end(
    before: Snapshot,
    after: Snapshot,
    overtaken: Option<&Session>,
    was: Option<&Invalidated>,
    successor: Option<Successor>,
    role: Role,
) -> Effects {
    // What was written here since the new session was made may be nowhere else yet.
    let late_writes = successor.zip(overtaken).and_then(|(successor, overtaken)| {
        follows(successor, overtaken.attributes().to_vec()).filter(|_| !failpoint::planted(Bug::RenewalDropsOwnWrites))
    });
    Effects {
        late_writes,
        announcement: announcement(before, after, role),
        loser: was.and_then(|was| ends_met(was.successor, successor)),
        ..Effects::default()
    }
}

fn follows(successor: Successor, late: Vec<Attribute>) -> Option<(SessionId, Vec<Attribute>)> {
    (!late.is_empty()).then(|| (successor.id(), late))
}

/// The primary tells of the end of a session, once: when its own copy goes from live to ended.
fn announcement(before: Snapshot, after: Snapshot, role: Role) -> Option<Announcement> {
    let tells = role == Role::Primary || failpoint::planted(Bug::EventOnEveryOwner);
    if before.status != Some(Status::Live) || !tells {
        return None;
    }
    after.end().map(|successor| match successor {
        None => Announcement::Invalidated,
        Some(Successor::Renewed(successor)) => Announcement::Renewed(successor),
        Some(Successor::Moved(successor)) => Announcement::Moved(successor),
    })
}

/// Two ends of one session met. The merge has chosen the winner. What the loser made is ended: by a logout for good; by
/// a renewal or another move it is merged into the winner, if it was a move.
///
/// Two renewals leave each other alone. Each made a session for the one who asked, and one of the two may be somebody
/// who had planted the old id: merged, he would share the other one's login.
fn ends_met(was: Option<Successor>, came: Option<Successor>) -> Option<(SessionId, Option<Successor>)> {
    if was == came {
        return None;
    }
    let (winner, loser) = (was.min(came), was.max(came));
    match (winner, loser) {
        (Some(Successor::Renewed(_)), Some(Successor::Renewed(_))) => {
            coverage::reached(Path::RenewedTwice);
            None
        }
        (_, Some(loser)) => {
            coverage::reached(Path::RenewalsFolded);
            Some((loser.id(), winner))
        }
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests;
