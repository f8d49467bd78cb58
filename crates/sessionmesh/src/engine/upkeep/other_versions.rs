//! Nodes that speak no version of the protocol that this node speaks: they are no members.

use std::collections::BTreeMap;

use sessionmesh_core::id::NodeHash;
use sessionmesh_core::membership::gossiped::{MemberInfo, barrier};
use sessionmesh_core::membership::members::Members;
use sessionmesh_core::moment::Moment;
use tracing::warn;

use crate::engine::state::node::Node;
use crate::error::Failure;
use crate::security::Refusal;

/// How often it is said of each, while it is heard.
const SAID_AGAIN_MS: u64 = 60_000;

/// Those that gossip hears, and when that was said.
#[derive(Debug, Default)]
pub(super) struct OtherVersions {
    said: BTreeMap<NodeHash, Moment>,
}

impl OtherVersions {
    /// Looks at those that gossip hears now. A node that is only joining gives way to members, as it does when it starts: it
    /// may hear of them late.
    pub(super) fn look_at(&mut self, node: &Node, members: &Members, gossip: &[MemberInfo]) {
        let (now, ours) = (node.now(), node.identity.versions);
        let mut said = BTreeMap::new();
        for info in members.not_understood(gossip) {
            let (addr, theirs) = (info.addr, info.versions);
            let before = self.said.get(&info.node()).copied();
            let lately = before.filter(|at| now.ms_since(*at) < SAID_AGAIN_MS);
            said.insert(info.node(), lately.unwrap_or(now));
            if lately.is_none() {
                node.ports.security.refusals.count(Refusal::OtherVersion);
                warn!(name = %info.name, %addr,
                    "a node speaks version {theirs} of the protocol, this node {ours}: it is not counted as a member, and \
                     finds no session of this cluster; update the older one");
            }
        }
        self.said = said;
        let topology = node.cluster.topology.load();
        if topology.is_joining(topology.me)
            && let Some(info) = barrier(ours, &node.config.name, node.identity.incarnation, gossip)
        {
            node.fail(Failure::OtherVersion { addr: info.addr, theirs: info.versions, ours });
        }
    }
}
