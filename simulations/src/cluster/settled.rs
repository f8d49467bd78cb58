//! Whether the cluster is calm, or has settled, and if not, why.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::{Kept, MemberState, Mesh, SessionId};

use super::Cluster;

impl Cluster {
    /// Why the cluster is not calm: every node that is up is ready, and all see exactly the nodes that are up.
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        if self.is_disturbed() {
            return Some("links are disturbed".to_owned());
        }
        self.unready()
    }

    /// Why not every node that is up is ready and sees exactly the nodes that are up, disturbed or not.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let states = self.states.borrow();
        let up = states.iter().zip(&self.names).filter(|(state, _)| !state.down);
        unready(up.map(|(state, name)| (name.as_str(), state.jobs.as_ref().and(state.mesh.as_ref()))))
    }

    /// Why the cluster has not settled: it is calm, nothing is under way, and all of `ids` are held by their owners,
    /// equally, and by nobody else.
    #[must_use]
    pub fn unsettled(&self, ids: &BTreeSet<SessionId>) -> Option<String> {
        if let Some(why) = self.unrest() {
            return Some(why);
        }
        let meshes = self.meshes();
        unsettled(&meshes.iter().map(|(name, mesh)| (name.as_str(), mesh)).collect(), ids)
    }
}

/// Why not each of these nodes, all that are up, is ready and sees exactly these nodes. One without a mesh starts or leaves.
pub(crate) fn unready<'a>(nodes: impl Iterator<Item = (&'a str, Option<&'a Mesh>)>) -> Option<String> {
    let mut up = Vec::new();
    for (name, mesh) in nodes {
        let Some(mesh) = mesh else { return Some(format!("{name} is starting or leaving")) };
        up.push((name, mesh));
    }
    // Views are sorted by name.
    up.sort_by_key(|(name, _)| *name);
    let mut first: Option<Vec<u64>> = None;
    for (name, mesh) in &up {
        let members = mesh.members();
        if !mesh.is_ready() || members.iter().any(|member| member.state != MemberState::Ready) {
            return Some(format!("not all are ready by the view of {name}"));
        }
        if !members.iter().map(|member| &*member.name).eq(up.iter().map(|(name, _)| *name)) {
            let seen: Vec<_> = members.iter().map(|member| &*member.name).collect();
            return Some(format!("{name} sees {seen:?}"));
        }
        let incarnations: Vec<u64> = members.iter().map(|member| member.incarnation).collect();
        if *first.get_or_insert_with(|| incarnations.clone()) != incarnations {
            return Some(format!("{name} sees other incarnations"));
        }
    }
    None
}

/// Why something is under way between these nodes, or not all of `ids` are held by their owners, equally, and by nobody else.
pub(crate) fn unsettled(nodes: &BTreeMap<&str, &Mesh>, ids: &BTreeSet<SessionId>) -> Option<String> {
    for (name, mesh) in nodes {
        let Kept { outbox, waiting_commits: commits, renewals_in_progress: following, .. } = mesh.kept();
        if outbox > 0 || commits > 0 || following > 0 {
            return Some(format!(
                "{name} has {outbox} sessions to send, {commits} commits wait, {following} renewals are followed"
            ));
        }
        if let Some(suspected) = mesh.suspected().first() {
            return Some(format!("{name} suspects {suspected}"));
        }
    }
    let (_, any) = nodes.first_key_value()?;
    for id in ids {
        let digest = |owner: &str| nodes.get(owner).and_then(|mesh| mesh.digest(*id));
        let held: Vec<_> = any.owners(*id).into_iter().map(|owner| (digest(&owner), owner)).collect();
        if held.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            return Some(format!("the owners of {id} differ: {held:x?}"));
        }
    }
    let (name, held) = nodes.iter().map(|(name, mesh)| (name, mesh.held_for_others())).find(|(_, held)| *held > 0)?;
    Some(format!("{name} holds {held} sessions that it does not own"))
}
