//! Members that vanished, and of which slots they may have taken the last copies with them.
//!
//! Of such a slot "no such session" cannot be said: the session may be on a node that is only cut off. A slot is lost in
//! this sense if all who owned it, under one of the views since the cluster was last whole, have vanished. So two of five
//! nodes, with one backup, take a tenth of the slots along, and of the others everything is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::members::Change;
use crate::failpoint::{self, Bug};
use crate::id::Slot;
use crate::moment::Moment;
use crate::placement::Placement;
use crate::placement::slots::Slots;
use crate::placement::view::{Member, MemberState, View};

/// Members that vanished within this of each other count together.
const VANISHED_TOGETHER_MS: u64 = 5_000;
/// Views that are remembered. After more changes than that every slot counts as lost that can be.
const OWNERSHIPS_MAX: usize = 16;

/// Members that vanished without leaving since the cluster was last whole.
#[derive(Debug, Default)]
pub struct LostMembers {
    gone: BTreeMap<Arc<str>, Gone>,
    /// Who owned what since then, the oldest first.
    ownerships: Vec<Ownership>,
    /// More views came than are remembered.
    overflown: bool,
    /// This node had not got its copies yet under the last of them.
    was_joining: bool,
    /// When the owners changed; none once that has been made good.
    placed_at: Option<Moment>,
    /// When the first of them vanished, and until when the last one matters.
    since: Option<Moment>,
    until: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    at: Moment,
    incarnation: u64,
    /// Its port refused connections: it is dead, not cut off.
    dead: bool,
    /// It came back as another incarnation, so what it held is lost for certain.
    empty: bool,
    /// It had not got its copies yet, so nobody had let go of anything because of it.
    joining: bool,
}

impl Gone {
    /// Whether it may come back with what nobody else has.
    const fn is_awaited(self) -> bool {
        !self.empty && !self.joining
    }
}

/// The owners under one view.
#[derive(Clone, Debug)]
struct Ownership {
    slots: Arc<Slots>,
    members: Arc<[(Arc<str>, u64)]>,
}

impl Ownership {
    fn new(view: &View, slots: Arc<Slots>) -> Self {
        let name = |member: &Member| (member.name.clone(), member.incarnation);
        Self { slots, members: view.members().iter().map(name).collect() }
    }

    fn owners(&self, slot: Slot) -> impl Iterator<Item = &(Arc<str>, u64)> {
        self.slots.owners(slot).iter().map(|&at| &self.members[usize::from(at)])
    }
}

/// What is not known, since when, and for how long at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// When the first of the members vanished.
    pub since: Moment,
    /// When no session can be left of those that are not known.
    pub until: Moment,
    /// The names of those that may come back.
    pub missing: Vec<Arc<str>>,
    /// Of so many slots it is not known what they hold.
    pub slots: usize,
    /// This node may be the one that was cut off.
    pub cut_off: bool,
}

impl LostMembers {
    /// Whether sessions of `slot` may exist of which no node in the view knows. At most for as long as a session may be
    /// idle. `present` members are in the view.
    pub fn hides(&self, slot: Slot, present: usize, now: Moment) -> bool {
        self.matters(now) && (self.may_be_cut_off(present) || self.is_lost(slot))
    }

    /// [`LostMembers::hides`], for any slot.
    pub fn hides_any(&self, present: usize, now: Moment) -> bool {
        let lost = || Slot::all().any(|slot| self.is_lost(slot));
        self.matters(now) && (self.may_be_cut_off(present) || lost())
    }

    /// Whether sessions can be left that were on nodes that vanished.
    fn matters(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until) && !failpoint::planted(Bug::VanishedForgotten)
    }

    /// All that is hidden, if anything is.
    pub fn blind(&self, present: usize, now: Moment) -> Option<Blind> {
        let until = self.until.filter(|until| now < *until)?;
        let cut_off = self.may_be_cut_off(present);
        let slots = Slot::all().filter(|slot| cut_off || self.is_lost(*slot)).count();
        let missing = self.gone.iter().filter(|(_, gone)| gone.is_awaited()).map(|(name, _)| name.clone()).collect();
        (slots > 0).then_some(Blind { since: self.since.unwrap_or(now), until, missing, slots, cut_off })
    }

    /// This node may be the one that was cut off, and others may have made sessions since: more than half of the others
    /// are silent. Those that came back, or are dead, are not beyond a cable.
    fn may_be_cut_off(&self, present: usize) -> bool {
        let absent = self.gone.values().filter(|gone| gone.is_awaited());
        let half = ((present + absent.clone().count()).saturating_sub(1) / 2).max(1);
        absent.filter(|gone| !gone.dead).count() > half
    }

    /// Whether all owners of `slot` vanished, under a view since the cluster was last whole, and one of them may come back
    /// with what it held.
    fn is_lost(&self, slot: Slot) -> bool {
        if self.gone.len() < 2 && !self.overflown && self.ownerships.iter().all(|p| p.slots.owners(slot).len() > 1) {
            return false;
        }
        let gone =
            |(name, incarnation): &(Arc<str>, u64)| self.gone.get(name).filter(|gone| *incarnation <= gone.incarnation);
        let lost = |then: &Ownership| {
            then.owners(slot).all(|owner| gone(owner).is_some())
                && then.owners(slot).any(|owner| gone(owner).is_some_and(|gone| gone.is_awaited()))
        };
        let too_many = || {
            let owners = self.ownerships.iter().map(|then| then.slots.owners(slot).len()).min();
            self.gone.len() >= owners.unwrap_or(1) && self.gone.values().any(|gone| gone.is_awaited())
        };
        self.ownerships.iter().any(lost) || (self.overflown && too_many())
    }

    /// The view is another one. Sessions live for `idle_ms` at most.
    pub fn view_changed(&mut self, changes: &[Change<'_>], after: &View, now: Moment, idle_ms: u64) {
        for change in changes {
            match *change {
                Change::Restarted { was, planned: false } => self.add(was, true, now, idle_ms),
                Change::Down { member, planned: false, dead } => self.add(member, dead, now, idle_ms),
                Change::Up(_) | Change::Restarted { .. } | Change::Down { .. } => {}
            }
        }
        for member in after.members() {
            self.returned(&member.name, member.incarnation);
        }
    }

    /// A member vanished. `dead`: nobody listens at its port any more.
    pub fn add(&mut self, member: &Member, dead: bool, now: Moment, idle_ms: u64) {
        let joining = member.state == MemberState::Joining;
        let gone = Gone { at: now, incarnation: member.incarnation, dead, empty: false, joining };
        self.gone.insert(member.name.clone(), gone);
        self.since.get_or_insert(now);
        self.until = Some(now.plus_ms(idle_ms));
    }

    /// A member is there.
    pub fn returned(&mut self, name: &str, incarnation: u64) {
        let Some(gone) = self.gone.get_mut(name) else { return };
        gone.empty |= gone.incarnation != incarnation;
        if !gone.empty {
            self.gone.remove(name);
        }
    }

    /// It had said that it leaves, and that is heard only now.
    pub fn left(&mut self, name: &str, incarnation: u64) {
        if self.gone.get(name).is_some_and(|gone| gone.incarnation == incarnation) {
            self.gone.remove(name);
        }
    }

    /// The owners are others from now on.
    ///
    /// A member that is joining has nothing of what was there before, so those who would own the slots without it count as
    /// owners, too. So do the owners of the fewest copies that a member asks for: while members ask for different numbers,
    /// only so many have all sessions.
    pub fn placed(&mut self, placement: &Placement, now: Moment) {
        let joining = placement.is_joining(placement.me);
        if self.was_joining && !joining && self.gone.is_empty() {
            // It has got all that there is, so those who had it before need not be there any more.
            self.ownerships.clear();
        }
        self.was_joining = joining;
        self.placed_at = Some(now);
        let view = &placement.view;
        self.remember(Ownership::new(view, placement.slots.clone()));
        let in_force = view.in_force().mode;
        let fewest = view.members().iter().map(|member| member.terms.mode).min().unwrap_or(in_force);
        if fewest < in_force {
            self.remember(Ownership::new(view, Arc::new(Slots::new(view, fewest))));
        }
        let has_all = |member: &&Member| member.state != MemberState::Joining;
        let ready: Vec<Member> = view.members().iter().filter(has_all).cloned().collect();
        if !ready.is_empty() && ready.len() < view.len() {
            let ready = View::new(ready);
            let slots = Arc::new(Slots::new(&ready, fewest));
            self.remember(Ownership::new(&ready, slots));
        }
    }

    fn remember(&mut self, ownership: Ownership) {
        if self.ownerships.iter().any(|known| known.members == ownership.members && known.slots == ownership.slots) {
            return;
        }
        if self.ownerships.len() < OWNERSHIPS_MAX {
            self.ownerships.push(ownership);
        } else {
            self.overflown = true;
        }
    }

    /// The cluster has settled: what vanished some time ago, within what the copies allow, has been made good.
    pub fn cluster_is_whole(&mut self, placement: &Placement, now: Moment) {
        let is_recent = |at| now.ms_since(at) < VANISHED_TOGETHER_MS;
        let Some(placed_at) = self.placed_at else { return };
        if self.hides_any(placement.view.len(), now) {
            return;
        }
        self.gone.retain(|_, gone| is_recent(gone.at));
        if self.gone.is_empty() && !is_recent(placed_at) {
            self.forget(placement);
        }
    }

    /// Whoever has vanished does not matter any more.
    pub fn forget(&mut self, placement: &Placement) {
        *self = Self { was_joining: placement.is_joining(placement.me), ..Self::default() };
        self.remember(Ownership::new(&placement.view, placement.slots.clone()));
    }
}

#[cfg(test)]
mod tests {
    use crate::id::SLOTS;
    use crate::terms::{Mode, Terms};

    use super::*;

    const MODE: Mode = Mode::PrimaryBackup { backups: 1 };
    const NOW: Moment = Moment::START;
    const IDLE_MS: u64 = 1_800_000;

    /// A member, which is joining if its name ends with a `+`.
    fn member(name: &str) -> Member {
        Member {
            name: Arc::from(name.trim_end_matches('+')),
            incarnation: 1,
            addr: "127.0.0.1:1".parse().unwrap(),
            zone: Arc::from(""),
            terms: Terms { mode: MODE, ..Terms::NONE },
            state: if name.ends_with('+') { MemberState::Joining } else { MemberState::Ready },
        }
    }

    /// As the first of `names` sees it.
    fn placement(names: &[&str]) -> Placement {
        let view = View::new(names.iter().map(|name| member(name)));
        let slots = Arc::new(Slots::new(&view, MODE));
        Placement::new(1, view, slots, names[0].trim_end_matches('+'))
    }

    fn whole(names: &[&str]) -> LostMembers {
        let mut vanished = LostMembers::default();
        vanished.forget(&placement(names));
        vanished
    }

    fn crash(vanished: &mut LostMembers, name: &str, left: &[&str]) {
        vanished.add(&member(name), true, NOW, IDLE_MS);
        vanished.placed(&placement(left), NOW);
    }

    fn hidden(vanished: &LostMembers, present: usize) -> usize {
        vanished.blind(present, NOW).map_or(0, |blind| blind.slots)
    }

    #[test]
    fn only_slots_whose_owners_all_vanished_are_lost() {
        let mut vanished = whole(&["a", "b", "c", "d", "e"]);
        crash(&mut vanished, "d", &["a", "b", "c", "e"]);
        assert_eq!(hidden(&vanished, 4), 0);
        crash(&mut vanished, "e", &["a", "b", "c"]);
        let tenth = hidden(&vanished, 3);
        assert!((SLOTS / 14..SLOTS / 7).contains(&tenth), "{tenth} slots");
        let five = placement(&["a", "b", "c", "d", "e"]);
        for slot in Slot::all() {
            let owners = five.slots.owners(slot).iter().map(|at| &*five.view.members()[usize::from(*at)].name);
            let is_lost = owners.into_iter().all(|name| ["d", "e"].contains(&name));
            // What was made after the first crash had its copies on `e` and another one.
            assert_eq!(vanished.hides(slot, 3, NOW), is_lost, "{slot}");
        }
    }

    #[test]
    fn it_ends_when_they_are_back_with_or_without_copies_or_when_their_sessions_are_too_old() {
        let blinded = || {
            let mut vanished = whole(&["a", "b", "c", "d", "e"]);
            crash(&mut vanished, "d", &["a", "b", "c", "e"]);
            crash(&mut vanished, "e", &["a", "b", "c"]);
            vanished
        };
        let mut vanished = blinded();
        vanished.returned("d", 1);
        assert_eq!(hidden(&vanished, 4), 0, "one owner of each is there");
        let mut vanished = blinded();
        vanished.returned("d", 2);
        assert!(hidden(&vanished, 4) > 0, "the other one may come back with copies");
        vanished.returned("e", 2);
        assert_eq!(hidden(&vanished, 5), 0, "nothing is left to wait for");
        let vanished = blinded();
        assert!(vanished.hides_any(3, NOW.plus_ms(IDLE_MS - 1)) && !vanished.hides_any(3, NOW.plus_ms(IDLE_MS)));
        let mut vanished = blinded();
        vanished.cluster_is_whole(&placement(&["a", "b", "c"]), NOW.plus_ms(60_000));
        assert!(hidden(&vanished, 3) > 0, "that the others have settled changes nothing");
        vanished.forget(&placement(&["a", "b", "c"]));
        assert_eq!(hidden(&vanished, 3), 0);
    }

    #[test]
    fn what_has_been_made_good_before_the_next_one_vanishes_is_not_lost() {
        let mut vanished = whole(&["a", "b", "c", "d"]);
        crash(&mut vanished, "d", &["a", "b", "c"]);
        vanished.cluster_is_whole(&placement(&["a", "b", "c"]), NOW.plus_ms(VANISHED_TOGETHER_MS));
        crash(&mut vanished, "c", &["a", "b"]);
        assert_eq!(hidden(&vanished, 2), 0);
    }

    #[test]
    fn of_many_silent_members_this_node_may_be_the_one_that_was_cut_off() {
        let mut vanished = whole(&["a", "b", "c", "d", "e"]);
        for (name, present) in [("b", 4), ("c", 3), ("d", 2)] {
            vanished.add(&member(name), false, NOW, IDLE_MS);
            let cut_off = vanished.blind(present, NOW).is_some_and(|blind| blind.cut_off && blind.slots == SLOTS);
            assert_eq!(cut_off, name == "d", "{name}");
        }
    }

    #[test]
    fn a_newcomer_whose_donors_vanish_has_nothing() {
        let mut vanished = LostMembers::default();
        vanished.placed(&placement(&["c+", "a", "b"]), NOW);
        crash(&mut vanished, "a", &["c+", "b"]);
        assert_eq!(hidden(&vanished, 2), 0, "`b` has all that `a` had");
        crash(&mut vanished, "b", &["c+"]);
        assert_eq!(hidden(&vanished, 1), SLOTS);
        // One that has got everything needs them no more.
        let mut vanished = LostMembers::default();
        vanished.placed(&placement(&["c+", "a"]), NOW);
        vanished.placed(&placement(&["c", "a"]), NOW);
        crash(&mut vanished, "a", &["c"]);
        assert_eq!(hidden(&vanished, 1), 0);
    }

    #[test]
    fn newcomers_that_die_take_nothing_along_unless_an_owner_beside_them_dies_too() {
        let mut vanished = whole(&["a", "b", "c"]);
        vanished.placed(&placement(&["a", "b", "c", "d+", "e+"]), NOW);
        crash(&mut vanished, "d+", &["a", "b", "c", "e+"]);
        crash(&mut vanished, "e+", &["a", "b", "c"]);
        assert_eq!(hidden(&vanished, 3), 0);
        crash(&mut vanished, "c", &["a", "b"]);
        let of_both = hidden(&vanished, 2);
        assert!(of_both > 0 && of_both < SLOTS / 2, "{of_both} slots");
    }
}
