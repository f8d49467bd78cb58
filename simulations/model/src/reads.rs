//! What a node would answer at this moment, by the rules of `sessionmesh-core`.

use std::cell::RefCell;
use std::collections::HashMap;

use sessionmesh_core::failpoint::{Bug, planted};
use sessionmesh_core::id::Slot;
use sessionmesh_core::liveness::leases::{self, OwnCopy};
use sessionmesh_core::membership::lost::LostMembers;
use sessionmesh_core::read::{Asker, ReadRound, Silence, Verdict};
use sessionmesh_core::replication::delta::Delta;
use sessionmesh_core::wire::message::{Held as HeldReply, ReadReply};

use crate::cluster::{Cluster, Held, NAMES, NODES, Node, View, life_of};
use crate::merges::{copy, id_in, record, stamp};
use crate::mesh::Mesh;
use crate::places::{self, NOW, hash_of, member};

/// An answer to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The session.
    Live(Held),
    /// It has ended.
    Ended,
    /// There is no such session.
    None,
    /// It cannot tell.
    Unknown,
}

/// Says all that a read on this node can come to, depending on which replies come first.
pub(crate) fn reads(mesh: &Mesh, cluster: &Cluster, at: usize, session: usize, mut say: impl FnMut(Said)) {
    if let Some(said) = by_own_copy(mesh, cluster, at, session) {
        say(said);
        return;
    }
    let asked = asked(mesh, cluster, at, session);
    say(ask(mesh, cluster, at, session, asked.iter().copied()));
    if asked.iter().filter(|asked| cluster.reaches(at, asked.0)).nth(1).is_some() {
        say(ask(mesh, cluster, at, session, asked.iter().rev().copied()));
    }
}

/// What a node serves from its own map, without asking.
fn by_own_copy(mesh: &Mesh, cluster: &Cluster, at: usize, session: usize) -> Option<Said> {
    let own = OwnCopy {
        is_owner: mesh.is_owner(cluster, at, session),
        is_joining: Mesh::is_joining(cluster, at),
        on_hold: false,
        has_stopped: false,
    };
    if !leases::may_answer(own, || is_leased(mesh, cluster, at)) {
        return None;
    }
    match cluster.nodes[at].store[session] {
        Held::NOTHING => None,
        Held::ENDED => Some(Said::Ended),
        held => Some(Said::Live(held)),
    }
}

/// Whether every other member lets this node answer for its own copies.
pub(crate) fn is_leased(mesh: &Mesh, cluster: &Cluster, at: usize) -> bool {
    let others = (0..NODES).filter(|to| *to != at && cluster.sees(at, *to));
    let statuses = others.filter_map(|to| mesh.status_of(cluster, at, to));
    leases::leased_until(statuses, hash_of(cluster.nodes[at].view), NOW).is_some()
}

/// Whether a node knows that it has missed nothing of what it owns.
pub(crate) fn is_current(mesh: &Mesh, cluster: &Cluster, at: usize) -> bool {
    !Mesh::is_joining(cluster, at) && is_leased(mesh, cluster, at)
}

/// Whom a read asks, and whether it is an owner: the owners first.
fn asked(mesh: &Mesh, cluster: &Cluster, at: usize, session: usize) -> Vec<(usize, bool)> {
    let placement = places::plain(at, cluster.nodes[at].view);
    let owners: Vec<_> = placement.owners(mesh.slot(session)).map(|owner| places::who(owner).0).collect();
    let mut asked: Vec<_> = owners.iter().map(|owner| (*owner, true)).collect();
    if mesh.is_in_transition(cluster, at) {
        let others = (0..NODES).filter(|to| *to != at && !owners.contains(to));
        let others = others.filter(|to| cluster.sees(at, *to) || mesh.is_former(cluster, at, *to));
        asked.extend(others.map(|other| (other, false)));
    }
    asked
}

/// One round of questions, in which the replies come in this order.
fn ask(mesh: &Mesh, cluster: &Cluster, at: usize, session: usize, asked: impl Iterator<Item = (usize, bool)>) -> Said {
    let node = &cluster.nodes[at];
    let is_owner = mesh.is_owner(cluster, at, session);
    let mut round = ReadRound::new(Asker {
        view: hash_of(node.view),
        is_owner,
        is_current: is_current(mesh, cluster, at),
        held: record(node.store[session]),
        is_awake: true,
        is_blind: is_blind(mesh, cluster, at, session),
    });
    let (replies, silent): (Vec<_>, Vec<_>) = asked.partition(|(to, _)| cluster.reaches(at, *to));
    for (to, is_owner) in silent {
        let Some(status) = mesh.status_of(cluster, at, to) else { continue };
        if status.silent {
            round.on_unreachable(is_owner, Silence { is_silent: true, is_cut_off: status.cut_off });
        } else {
            round.on_no_reply(is_owner, false);
        }
    }
    for (to, is_owner) in replies {
        let held = cluster.nodes[to].store[session];
        let theirs = record(held);
        let reply = match &theirs {
            None if Mesh::is_joining(cluster, to) => HeldReply::Abstains,
            None => HeldReply::Nothing,
            Some(_) if held == node.store[session] && held.is_live() => HeldReply::Same { age_ms: 0 },
            Some(theirs) => HeldReply::This(Delta::since(id_in(mesh.slot(session)), theirs, stamp(0), NOW)),
        };
        let current = mesh.is_owner(cluster, to, session) && is_current(mesh, cluster, to);
        let is_nothing = reply == HeldReply::Nothing;
        let reply = ReadReply { request: 0, view: hash_of(cluster.nodes[to].view).0, current, held: reply };
        round.on_reply(&reply, is_owner, NOW, NOW);
        // As in the engine.
        if (planted(Bug::MissBelieved) && is_owner && is_nothing) || round.is_decided(NOW) {
            break;
        }
    }
    if let Some(own) = record(node.store[session]) {
        round.on_own_copy(own, is_owner);
    }
    match round.verdict(NOW) {
        Verdict::Live(record) => Said::Live(copy(Some(&record))),
        Verdict::Ended(_) => Said::Ended,
        Verdict::NoSuchSession { .. } => Said::None,
        Verdict::Unclear(_) => Said::Unknown,
    }
}

/// What decides whether a node is blind for a slot: the node, its view, who vanished, who of them is dead, and the session.
type Vanished = (usize, View, View, u8, usize);

thread_local! {
    static BLIND: RefCell<HashMap<Vanished, bool>> = RefCell::default();
}

/// Whether all members that had copies may have vanished.
fn is_blind(mesh: &Mesh, cluster: &Cluster, at: usize, session: usize) -> bool {
    let node = &cluster.nodes[at];
    if node.gone == [0; NODES] {
        return false;
    }
    if planted(Bug::VanishedForgotten) {
        return hides(mesh.slot(session), at, node);
    }
    // To find the owners that there were takes a while.
    let vanished = (at, node.view, node.gone, node.dead, mesh.slot(session).index());
    BLIND.with_borrow_mut(|blind| *blind.entry(vanished).or_insert_with(|| hides(mesh.slot(session), at, node)))
}

fn hides(slot: Slot, at: usize, node: &Node) -> bool {
    let mut lost = LostMembers::default();
    let gone = || (0..NODES).filter(|to| node.gone[*to] != 0);
    let mut before = node.view;
    gone().for_each(|to| before[to] = node.gone[to]);
    lost.placed(places::plain(at, before), NOW);
    for to in gone() {
        lost.add(&member(to, node.gone[to]), node.dead >> to & 1 == 1, NOW, 1_800_000);
        if node.view[to] != 0 {
            lost.returned(NAMES[to], u64::from(life_of(node.view[to])));
        }
    }
    lost.placed(places::plain(at, node.view), NOW);
    let present = node.view.iter().filter(|entry| **entry != 0).count();
    lost.hides(slot, present, NOW)
}
