//! What a node may conclude about the sessions of a user from the lists that others give.

use std::collections::BTreeSet;

use crate::id::{NodeHash, SessionId, Slot};
use crate::placement::Placement;
use crate::placement::view::{Member, ViewHash};
use crate::wire::message::{USER_IDS_MAX, UserReply};

/// What came of asking everybody once.
#[derive(Debug)]
pub struct UserQueryRound {
    ids: BTreeSet<SessionId>,
    /// Members that told all they hold, and know that they have missed nothing, under the asker's view.
    current: BTreeSet<NodeHash>,
    in_transition: bool,
    /// Somebody who gave signs of life did not answer.
    missing: bool,
    blind: bool,
    /// A list was cut short.
    cut: bool,
}

impl UserQueryRound {
    /// Nobody has answered yet. `in_transition` says that the view is changing, so that former owners may hold what the
    /// present ones lack; `awake` that the asker ran of late, and so can tell who is silent; `blind` that all copies of some
    /// slots may have vanished.
    #[must_use]
    pub const fn new(in_transition: bool, awake: bool, blind: bool) -> Self {
        Self { ids: BTreeSet::new(), current: BTreeSet::new(), in_transition, missing: !awake, blind, cut: false }
    }

    /// This node told all it holds.
    pub fn on_list(&mut self, from: NodeHash, list: UserList) {
        self.ids.extend(list.ids);
        self.cut |= list.cut;
        if list.current {
            self.current.insert(from);
        }
    }

    /// A node gave no list; `silent` says that it gives no sign of life at all.
    pub const fn on_no_list(&mut self, silent: bool) {
        self.missing |= !silent;
    }

    /// Why the ids may not be all there are; `None` if they are.
    ///
    /// An owner that is current holds every session of its slots that was acknowledged, so one for each slot suffices.
    /// While the view changes, those who owned a slot before are heard, too.
    #[must_use]
    pub fn incomplete(&self, placement: &Placement) -> Option<&'static str> {
        if self.blind {
            return Some("more nodes vanished than there are copies");
        }
        if self.in_transition && self.missing {
            return Some("the cluster is changing, and not all nodes answered");
        }
        let covered = |slot| placement.owner_nodes(slot).iter().any(|owner| self.current.contains(owner));
        let all = placement.view.members().iter().map(Member::node).all(|node| self.current.contains(&node));
        (!all && !Slot::all().all(covered))
            .then_some("for some sessions, no up-to-date owner with the same user index answered")
    }

    /// Whether there are more than `most` ids, or a node had too many to list.
    #[must_use]
    pub fn is_too_long(&self, most: usize) -> bool {
        self.ids.len() > most || self.cut
    }

    /// The ids that were listed. Some may have ended.
    #[must_use]
    pub fn into_ids(self) -> BTreeSet<SessionId> {
        self.ids
    }
}

/// All that one node holds of a user, put together from pages.
#[derive(Clone, Debug)]
pub struct UserList {
    /// The ids, ascending.
    pub ids: Vec<SessionId>,
    /// The node has missed nothing of what it owns, under the asker's view and by its rule.
    pub current: bool,
    /// There are more, that were not asked for.
    pub cut: bool,
}

/// What follows from one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// There is another one.
    More,
    /// It was the last.
    Last,
    /// It cannot come after the pages before: the node does not keep to the protocol.
    Impossible,
}

impl UserList {
    /// Before the first page.
    #[must_use]
    pub const fn new() -> Self {
        Self { ids: Vec::new(), current: true, cut: false }
    }

    /// After which id the next page begins.
    #[must_use]
    pub fn after(&self) -> Option<SessionId> {
        self.ids.last().copied()
    }

    /// Adds the page that follows [`UserList::after`]. With `most` ids or more the list is cut. An impossible page changes
    /// nothing.
    pub fn add(&mut self, page: UserReply, view: ViewHash, most: usize) -> Page {
        if !is_page(&page, self.after()) {
            return Page::Impossible;
        }
        self.current &= page.current && ViewHash(page.view) == view;
        self.ids.extend(page.ids);
        self.cut = page.more && self.ids.len() >= most;
        if page.more && !self.cut { Page::More } else { Page::Last }
    }
}

impl Default for UserList {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether `told` can be the page after `after`: so the pages come to an end.
fn is_page(told: &UserReply, after: Option<SessionId>) -> bool {
    let ascending = told.ids.is_sorted_by(|one, next| one < next);
    let goes_on = told.ids.first().is_none_or(|first| after.is_none_or(|after| after < *first));
    ascending && goes_on && told.ids.len() <= USER_IDS_MAX && (!told.more || !told.ids.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::placement;

    const MOST: usize = 8;

    fn id(number: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    fn page(ids: impl IntoIterator<Item = u32>, more: bool) -> UserReply {
        UserReply { request: 1, view: 2, counter: 3, current: true, ids: ids.into_iter().map(id).collect(), more }
    }

    fn after_three() -> UserList {
        UserList { ids: vec![id(3)], ..UserList::new() }
    }

    #[test]
    fn only_pages_that_come_to_an_end_are_believed() {
        let view = ViewHash(2);
        assert_eq!(UserList::new().add(page([], false), view, MOST), Page::Last);
        assert_eq!(UserList::new().add(page([1, 2], true), view, MOST), Page::More);
        assert_eq!(after_three().add(page([4], true), view, MOST), Page::More);
        assert_eq!(after_three().add(page([], true), view, MOST), Page::Impossible, "the same again and again");
        assert_eq!(after_three().add(page([3], true), view, MOST), Page::Impossible);
        assert_eq!(UserList::new().add(page([2, 1], false), view, MOST), Page::Impossible);
        assert_eq!(UserList::new().add(page([1, 1], false), view, MOST), Page::Impossible);
        let long = page(0..=u32::try_from(USER_IDS_MAX).unwrap(), false);
        assert_eq!(UserList::new().add(long, view, MOST), Page::Impossible);
    }

    #[test]
    fn a_list_is_cut_at_its_bound_and_current_only_if_all_its_pages_are() {
        let (view, mut list) = (ViewHash(2), UserList::new());
        assert_eq!(list.add(page(1..=4, true), view, MOST), Page::More);
        assert_eq!(list.add(page(5..=8, true), view, MOST), Page::Last);
        assert!(list.cut && list.current && list.ids.len() == 8);
        let mut list = UserList::new();
        list.add(page([1], true), view, MOST);
        list.add(UserReply { view: 9, ..page([2], false) }, view, MOST);
        assert!(!list.current, "the view changed between two pages");
    }

    fn list(current: bool) -> UserList {
        UserList { current, ..UserList::new() }
    }

    #[test]
    fn a_list_is_complete_if_of_every_slot_an_owner_has_answered_that_missed_nothing() {
        let placement = placement("a", &["a", "b", "c"]);
        let [a, b, c] = ["a", "b", "c"].map(|name| NodeHash::of(name, 1));
        let mut round = UserQueryRound::new(false, true, false);
        round.on_list(a, list(true));
        round.on_no_list(false);
        assert!(round.incomplete(&placement).is_some(), "b and c own some slots without a");
        round.on_list(c, list(false));
        assert!(round.incomplete(&placement).is_some(), "c may have missed something");
        round.on_list(b, list(true));
        assert_eq!(round.incomplete(&placement), None);
    }

    #[test]
    fn while_the_view_changes_everybody_who_lives_is_heard_and_after_a_loss_nobody_suffices() {
        let placement = placement("a", &["a", "b", "c"]);
        let all = |mut round: UserQueryRound| {
            for name in ["a", "b", "c"] {
                round.on_list(NodeHash::of(name, 1), list(true));
            }
            round
        };
        let mut changing = all(UserQueryRound::new(true, true, false));
        changing.on_no_list(true);
        assert_eq!(changing.incomplete(&placement), None, "whoever is dead tells nothing");
        changing.on_no_list(false);
        assert!(changing.incomplete(&placement).is_some());
        assert!(all(UserQueryRound::new(true, false, false)).incomplete(&placement).is_some());
        assert!(all(UserQueryRound::new(false, true, true)).incomplete(&placement).is_some());
    }

    #[test]
    fn too_many_ids_are_no_list() {
        let mut round = UserQueryRound::new(false, true, false);
        round.on_list(NodeHash::of("a", 1), UserList { ids: (0..3).map(id).collect(), ..UserList::new() });
        assert!(round.is_too_long(2) && !round.is_too_long(3));
        round.on_list(NodeHash::of("b", 1), UserList { cut: true, ..UserList::new() });
        assert!(round.is_too_long(3));
    }
}
