//! What members say about themselves: the keys of the gossip.
//!
//! Keys that are not known are not looked at, so a later version may say more under keys of its own. What stands under these
//! must stay as it is; only to the terms and the versions something may be added, at the end.

use std::sync::Arc;

use chitchat::{ChitchatId, NodeState};
use sessionmesh_core::wire::version::Versions;

use crate::membership::{GossipState, MemberInfo, MembershipConfig};

const ADDR: &str = "addr";
const ZONE: &str = "zone";
const STATE: &str = "state";
const TERMS: &str = "terms";
const VERSIONS: &str = "versions";

/// Own versions beyond this were not counted up by us, and leave little room to count on.
const VERSION_MAX: u64 = u64::MAX / 2;

/// Says what this member says about itself. Said again at every look, since others could write it as well.
pub(super) fn say(own: &mut NodeState, config: &MembershipConfig, state: GossipState) {
    if own.max_version() < VERSION_MAX {
        own.set(ADDR, config.advertise);
        own.set(ZONE, &config.zone);
        own.set(STATE, state.name());
        own.set(TERMS, config.terms);
        own.set(VERSIONS, config.versions.said());
    }
}

/// What another member says, once it has said enough.
pub(super) fn heard(id: &ChitchatId, state: &NodeState, alive: bool) -> Option<MemberInfo> {
    Some(MemberInfo {
        name: Arc::clone(&id.node_id),
        incarnation: id.generation_id,
        addr: state.get(ADDR)?.parse().ok()?,
        zone: state.get(ZONE)?.into(),
        state: GossipState::from_name(state.get(STATE)?)?,
        terms: state.get(TERMS)?.parse().ok()?,
        versions: Versions::heard(state.get(VERSIONS)?)?,
        alive,
        heartbeat: state.heartbeat().into(),
    })
}
