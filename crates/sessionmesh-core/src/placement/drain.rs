//! When a node that leaves may stop.

use super::Placement;
use crate::placement::view::MemberState;

/// What a leaving node still has to do.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// All that it holds was marked for those who own it now.
    pub scanned: bool,
    /// Commits that wait for copies.
    pub waiting_commits: usize,
    /// Sessions and tombstones that it still holds: what all owners keep is dropped.
    pub held: usize,
}

/// Whether nothing is held any more, under a view that says that this node leaves; or nobody stays to take it.
#[must_use]
pub fn is_done(placement: &Placement, drain: Drain) -> bool {
    let members = placement.view.members();
    let leaves = members[usize::from(placement.me)].state == MemberState::Leaving;
    let somebody_stays = members.iter().any(|member| member.state != MemberState::Leaving);
    leaves && drain.scanned && drain.waiting_commits == 0 && (drain.held == 0 || !somebody_stays)
}
