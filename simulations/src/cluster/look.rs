//! How the cluster looks at one moment, for the oracle.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::{AttributeHeld, Mesh, SessionId};
use tokio::sync::oneshot;

use super::life::NodeState;
use super::{Cluster, SILENT_MS};
use crate::clients::{self, Service};
use crate::oracle::world::{Look, Ready};
use crate::oracle::{Others, Reply, Request, UsersHeld};

impl Cluster {
    /// How the cluster looks now. `ids` are the sessions there may be; whether they are where they must be is looked at
    /// if `compare` is set.
    #[must_use]
    pub fn look(&mut self, links_work: bool, ids: impl Fn() -> BTreeSet<SessionId>, compare: bool) -> Look {
        let quiet = self.unrest().is_none();
        self.started_unheard &= !quiet || self.hushed;
        let split_unseen = std::mem::take(&mut self.split_unseen);
        let calm = links_work && quiet && !split_unseen;
        let suspects = self.meshes().iter().any(|(_, mesh)| !mesh.suspected().is_empty());
        self.note_sleepers(calm && !suspects);
        let repaired = calm && compare && self.unsettled(&ids()).is_none();
        let nodes = 0..self.names.len();
        let up: Vec<usize> = nodes.clone().filter(|node| self.states.borrow()[*node].mesh.is_some()).collect();
        Look {
            calm,
            suspects,
            split: split_unseen || self.is_split(),
            slow: self.is_slow(),
            frozen: nodes.clone().filter(|node| self.is_frozen(*node)).collect(),
            neighbours: if split_unseen {
                nodes.clone().map(|node| BTreeSet::from([node])).collect()
            } else if !self.is_apart() && !self.is_slow() {
                vec![BTreeSet::new(); self.names.len()]
            } else {
                nodes.map(|node| self.neighbours(node)).collect()
            },
            up: up.into_iter().map(|node| (node, self.life(node))).collect(),
            repaired,
            ready: self.newly_ready(ids),
        }
    }

    /// Of each of these sessions that lives, in how many zones it is; none if there is only one zone.
    #[must_use]
    pub fn zones_of(&self, ids: &BTreeSet<SessionId>) -> BTreeMap<SessionId, usize> {
        let zones = self.shared.scenario.product.zones;
        let states = self.states.borrow();
        let up = || states.iter().enumerate().filter_map(|(node, state)| Some((node, state.mesh.as_ref()?)));
        if zones < 2 || up().map(|(node, _)| node % zones).collect::<BTreeSet<_>>().len() < 2 {
            return BTreeMap::new();
        }
        let zones_of = |id: &SessionId| {
            let lives = |mesh: &Mesh| matches!(mesh.attribute_held(*id, ""), AttributeHeld::Is(_));
            up().filter(|(_, mesh)| lives(mesh)).map(|(node, _)| node % zones).collect::<BTreeSet<_>>().len()
        };
        ids.iter().map(|id| (*id, zones_of(id))).filter(|(_, zones)| *zones > 0).collect()
    }

    /// Nodes that reach no other one.
    #[must_use]
    pub fn cut_off(&self) -> BTreeSet<usize> {
        let nodes = 0..self.names.len();
        let is_cut = |one: usize, other: usize| self.cuts.contains(&(one, other));
        nodes.clone().filter(|node| nodes.clone().all(|other| other == *node || is_cut(*node, other))).collect()
    }

    fn note_sleepers(&mut self, calm_and_nobody_suspected: bool) {
        if calm_and_nobody_suspected {
            self.slept.clear();
        }
        let (states, now) = (self.states.borrow(), self.now_ms());
        let long = |state: &NodeState| state.frozen && now.saturating_sub(state.frozen_since_ms) >= SILENT_MS;
        self.slept.extend(states.iter().enumerate().filter(|(_, state)| long(state)).map(|(node, _)| node));
    }

    /// The nodes that became ready since this was called last, and what they lack of `ids`.
    fn newly_ready(&self, ids: impl Fn() -> BTreeSet<SessionId>) -> Vec<Ready> {
        let mut newly = Vec::new();
        for (node, (state, name)) in self.states.borrow_mut().iter_mut().zip(&self.names).enumerate() {
            let Some(mesh) = state.mesh.as_ref().filter(|mesh| !state.ready && mesh.is_ready()) else { continue };
            state.ready = true;
            let owns = |id: &SessionId| mesh.owners(*id).iter().any(|owner| **owner == **name);
            let lacks = ids().into_iter().filter(|id| owns(id) && !mesh.holds(*id)).collect();
            newly.push(Ready { node, since_ms: state.since_ms, lacks });
        }
        newly
    }
}

impl Service for Cluster {
    fn serving(&self) -> Vec<usize> {
        Self::serving(self)
    }

    fn life(&self, node: usize) -> u32 {
        Self::life(self, node)
    }

    fn serve(&self, request: Request, sizes: (u32, u32)) -> oneshot::Receiver<Option<Reply>> {
        let store = self.store(request.node).filter(|_| request.is_record);
        self.ask(request.node, move |mesh| clients::patient(mesh, store, request, sizes))
    }

    fn holders(&self, node: usize, id: SessionId) -> BTreeSet<(usize, u32)> {
        let states = self.states.borrow();
        let Some(reader) = &states[node].mesh else { return BTreeSet::new() };
        let others = states.iter().zip(&self.names).enumerate().filter(|(_, (state, _))| !state.down);
        let others =
            others.filter_map(|(at, (state, name))| Some((at, state.lives, name.as_str(), state.mesh.as_ref()?)));
        holders(reader, others, id)
    }

    fn were_near(&self, holder: usize, _: &Request) -> bool {
        // Links only ever change to worse or to healed, and a healed link was worse before.
        !self.is_disturbed() && !self.is_frozen(holder)
    }

    fn is_steady_since(&self, _: &Request) -> bool {
        // A request is served in the step in which it is sent.
        true
    }

    fn others(&self, but: usize, id: SessionId, key: &str, _: &Request) -> Option<Others> {
        let states = self.states.borrow();
        let others = states.iter().enumerate().filter(|(node, _)| *node != but);
        let mut all = Others::default();
        for (state, mesh) in others.filter_map(|(_, state)| Some((state, state.mesh.as_ref()?))) {
            match state.jobs {
                Some(_) => all.held.push(mesh.attribute_held(id, key)),
                None => all.leaving += 1,
            }
        }
        Some(all)
    }

    fn users_held(&self, but: usize, ids: &[SessionId]) -> UsersHeld {
        let states = self.states.borrow();
        let mut all = UsersHeld::default();
        for (node, mesh) in states.iter().enumerate().filter_map(|(node, state)| Some((node, state.mesh.as_ref()?))) {
            for id in ids {
                let ended = node != but && mesh.attribute_held(*id, "") == AttributeHeld::Ended;
                *all.ended.entry(*id).or_default() += usize::from(ended);
                // Who does not own it may have a copy left of what it only passed on, and does not serve it.
                let is_owner = mesh.owners(*id).iter().any(|owner| **owner == *self.names[node]);
                all.live.extend((is_owner && mesh.holds_live(*id)).then_some(*id));
            }
        }
        all
    }
}

/// Which of `nodes`, each with its number, its life and its name, hold a live copy of `id`, are its owners by their own view,
/// and are members of the view of `reader`; and whom it asks, by its own view: an owner, or one that it does not suspect. A suspected
/// one may have been alone for a while, and then made sessions that the others look for elsewhere.
pub(crate) fn holders<'a>(
    reader: &Mesh,
    nodes: impl Iterator<Item = (usize, u32, &'a str, &'a Mesh)>,
    id: SessionId,
) -> BTreeSet<(usize, u32)> {
    let seen: Vec<_> = reader.members().into_iter().map(|member| (member.name, member.incarnation)).collect();
    let (owners, suspected) = (reader.owners(id), reader.suspected());
    let is_asked =
        |name: &str| owners.iter().any(|owner| **owner == *name) || !suspected.iter().any(|other| other == name);
    let holds = |name: &str, mesh: &Mesh| {
        let myself = || mesh.members().into_iter().find(|member| *member.name == *name);
        mesh.holds_live(id)
            && mesh.owners(id).iter().any(|owner| **owner == *name)
            && is_asked(name)
            && myself().is_some_and(|myself| seen.contains(&(myself.name, myself.incarnation)))
    };
    nodes.filter(|(_, _, name, mesh)| holds(name, mesh)).map(|(at, life, ..)| (at, life)).collect()
}
