//! What a change made of a session, and whether that is told as an event.

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::probe::{self, Bug};
use sessionmesh_core::session::{Status, Successor};

use super::node::Node;
use crate::event::Event;
use sessionmesh_core::entry::Entry;

/// What matters of a record before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) status: Option<Status>,
    pub(crate) access: Option<Moment>,
}

impl Snapshot {
    pub(crate) fn of(entry: Option<&Entry>) -> Self {
        Self { status: entry.map(|entry| entry.record.status()), access: entry.map(|entry| entry.record.access) }
    }
}

/// The primary tells of the end of a session, once: when its own copy goes from live to ended.
pub(crate) fn announce_end(node: &Node, id: SessionId, before: Snapshot, after: Snapshot) {
    let tells = node.topology.load().is_primary(id.slot()) || probe::planted(Bug::EventOnEveryOwner);
    if before.status != Some(Status::Live) || !tells {
        return;
    }
    match after.status {
        Some(Status::Invalidated { successor: None }) => node.emit(Event::Invalidated { id }),
        Some(Status::Invalidated { successor: Some(Successor::Renewed(successor)) }) => {
            node.emit(Event::Renewed { id, successor });
        }
        Some(Status::Invalidated { successor: Some(Successor::Moved(successor)) }) => {
            node.emit(Event::Moved { id, successor });
        }
        Some(Status::Live | Status::Expired) | None => {}
    }
}
