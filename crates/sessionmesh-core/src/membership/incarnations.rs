//! What a node knows of the incarnations that gossip tells of: by its links, by what they said themselves, and by their
//! heartbeats.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::Refusal;
use crate::id::NodeHash;
use crate::moment::Moment;

/// A heartbeat that did not change for so many gossip intervals stands still.
const STILL_INTERVALS: u64 = 4;

/// All incarnations of which something is known. Nothing of it outlasts what gossip remembers, so a name that is started again
/// and again costs nothing for good.
#[derive(Debug, Default)]
pub struct Incarnations(BTreeMap<NodeHash, Incarnation>);

#[derive(Debug, Default)]
struct Incarnation {
    heartbeat: Option<Heartbeat>,
    refusal: Option<Refusal>,
    leaving: bool,
    gone: bool,
    was_member: bool,
    was_reached: bool,
}

/// The last heartbeat that gossip told of.
#[derive(Clone, Copy, Debug)]
struct Heartbeat {
    count: u64,
    since: Moment,
    /// It was counted up while this node listened, so the incarnation lived then.
    moved: bool,
}

impl Incarnations {
    /// Gossip has counted so many heartbeats.
    pub fn heartbeat(&mut self, node: NodeHash, count: u64, now: Moment) {
        let known = &mut self.0.entry(node).or_default().heartbeat;
        match known {
            Some(heartbeat) if heartbeat.count == count => {}
            _ => *known = Some(Heartbeat { count, since: now, moved: known.is_some() }),
        }
    }

    /// Its port refuses connections. A member that was reached before and is heard all the same stays what it is, however
    /// often its port refuses.
    pub fn refused(&mut self, node: NodeHash, now: Moment) {
        let incarnation = self.0.entry(node).or_default();
        let heartbeat = incarnation.heartbeat.map_or(0, |heartbeat| heartbeat.count);
        match &mut incarnation.refusal {
            None => incarnation.refusal = Some(Refusal::new(heartbeat, now)),
            Some(_) if incarnation.was_reached => {}
            Some(refusal) => refusal.again(heartbeat, now),
        }
    }

    /// A link to it is up.
    pub fn connected(&mut self, node: NodeHash) {
        let incarnation = self.0.entry(node).or_default();
        incarnation.refusal = None;
        incarnation.was_reached = true;
    }

    /// Another one answers at its address.
    pub fn replaced(&mut self, node: NodeHash) {
        self.0.entry(node).or_default().gone = true;
    }

    /// It says that it is leaving.
    pub fn leaves(&mut self, node: NodeHash) {
        self.0.entry(node).or_default().leaving = true;
    }

    /// It has left.
    pub fn left(&mut self, node: NodeHash) {
        self.leaves(node);
        self.replaced(node);
    }

    /// They are in the view, and may hold from now on what they hold then.
    pub fn joined(&mut self, nodes: impl IntoIterator<Item = NodeHash>) {
        nodes.into_iter().for_each(|node| self.0.entry(node).or_default().was_member = true);
    }

    /// Forgets those that gossip has forgotten, but for those that are `in_view`.
    pub fn forget(&mut self, heard: &BTreeSet<NodeHash>, in_view: impl Fn(NodeHash) -> bool) {
        self.0.retain(|node, incarnation| {
            let is_heard = heard.contains(node);
            incarnation.heartbeat = incarnation.heartbeat.filter(|_| is_heard);
            is_heard || in_view(*node)
        });
    }

    /// Those whose ports refuse, but that were heard for so long that they count as members from now on.
    pub fn admit_heard(&mut self, now: Moment) -> Vec<NodeHash> {
        let admitted = |(node, incarnation): (&NodeHash, &mut Incarnation)| {
            let heartbeat = incarnation.heartbeat.map_or(0, |heartbeat| heartbeat.count);
            incarnation.refusal.as_mut()?.on_heartbeat(heartbeat, now).then_some(*node)
        };
        self.0.iter_mut().filter_map(admitted).collect()
    }

    /// Whether it is no member, since its port refuses.
    #[must_use]
    pub fn is_refused(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.refusal.as_ref().is_some_and(|refusal| !refusal.is_admitted()))
    }

    /// Whether it is dead, not cut off: its port refuses, or another one answers there, or it has left.
    #[must_use]
    pub fn is_dead(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.refusal.is_some() || incarnation.gone)
    }

    /// Whether it is no member any more, for good.
    #[must_use]
    pub fn is_over(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.gone)
    }

    /// Whether it has said that it leaves, or has left.
    #[must_use]
    pub fn is_leaving(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.leaving)
    }

    /// Whether it was in the view once.
    #[must_use]
    pub fn was_member(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.was_member)
    }

    /// All that were in the view once.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeHash> {
        self.0.iter().filter(|(_, incarnation)| incarnation.was_member).map(|(node, _)| *node).collect()
    }

    /// Whether its heartbeat was counted up while this node listened.
    #[must_use]
    pub fn has_moved(&self, node: NodeHash) -> bool {
        self.of(node, |incarnation| incarnation.heartbeat.is_some_and(|heartbeat| heartbeat.moved))
    }

    /// Whether it counts as alive. There are two witnesses: gossip, with its failure detector (`detected`) and the heartbeat;
    /// and the link, of which `link_gone` says whether it was silent for as long as a member may be, none where there is no
    /// link. A member that answers on its link lives, whatever gossip says, which after a stall of this node takes everybody
    /// for dead; one that is silent on its link goes as soon as its heartbeat stands still, too.
    #[must_use]
    pub fn is_alive(
        &self,
        node: NodeHash,
        detected: bool,
        link_gone: Option<bool>,
        gossip_interval_ms: u64,
        now: Moment,
    ) -> bool {
        let heartbeat = self.0.get(&node).and_then(|incarnation| incarnation.heartbeat);
        let still_ms = heartbeat.map_or(0, |heartbeat| now.ms_since(heartbeat.since));
        let gossip_says_so = detected && still_ms <= gossip_interval_ms * STILL_INTERVALS;
        link_gone == Some(false) || gossip_says_so
    }

    fn of(&self, node: NodeHash, is: impl FnOnce(&Incarnation) -> bool) -> bool {
        self.0.get(&node).is_some_and(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeHash = NodeHash(1);
    const B: NodeHash = NodeHash(2);

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    #[test]
    fn a_pod_in_a_crash_loop_for_a_month_costs_nothing() {
        let mut incarnations = Incarnations::default();
        // It is started every minute, never gets a link, and gossip remembers two lives.
        for life in 0..43_200_u64 {
            let (node, now) = (NodeHash(life), at(life * 60_000));
            let heard: BTreeSet<NodeHash> = (life.saturating_sub(1)..=life).map(NodeHash).collect();
            heard.iter().for_each(|node| incarnations.heartbeat(*node, life, now));
            match life % 4 {
                0 => incarnations.refused(node, now),
                1 => incarnations.left(node),
                2 => incarnations.joined([node]),
                _ => incarnations.connected(node),
            }
            incarnations.forget(&heard, |_| false);
            assert!(incarnations.0.len() <= 2, "{} after {life} lives", incarnations.0.len());
        }
    }

    #[test]
    fn who_is_in_the_view_is_remembered_though_gossip_has_forgotten_it() {
        let mut incarnations = Incarnations::default();
        for node in [A, B] {
            incarnations.heartbeat(node, 1, at(0));
            incarnations.joined([node]);
            incarnations.leaves(node);
        }
        incarnations.forget(&BTreeSet::new(), |node| node == A);
        assert_eq!(incarnations.members(), BTreeSet::from([A]));
        assert!(incarnations.is_leaving(A) && !incarnations.is_leaving(B));
        assert!(!incarnations.has_moved(A));
        // Heard of again, it begins anew.
        incarnations.heartbeat(A, 2, at(1));
        assert!(!incarnations.has_moved(A));
        incarnations.heartbeat(A, 3, at(2));
        assert!(incarnations.has_moved(A));
    }

    #[test]
    fn a_member_is_alive_by_its_link_or_by_gossip() {
        let mut incarnations = Incarnations::default();
        incarnations.heartbeat(A, 1, at(0));
        let alive = |detected, link_gone, ms| incarnations.is_alive(A, detected, link_gone, 100, at(ms));
        assert!(alive(false, Some(false), 10_000), "it answers on its link");
        assert!(alive(true, Some(true), 400) && alive(true, None, 400));
        assert!(!alive(true, Some(true), 401), "silent, and the heartbeat stands still");
        assert!(!alive(false, Some(true), 10) && !alive(false, None, 10));
    }

    #[test]
    fn who_refuses_is_no_member_until_it_was_heard_for_long_and_one_that_was_reached_stays_one() {
        let mut incarnations = Incarnations::default();
        incarnations.heartbeat(A, 1, at(0));
        incarnations.refused(A, at(0));
        assert!(incarnations.is_refused(A) && incarnations.is_dead(A) && !incarnations.is_over(A));
        incarnations.heartbeat(A, 2, at(2_001));
        assert_eq!(incarnations.admit_heard(at(2_001)), [A]);
        assert!(!incarnations.is_refused(A));
        incarnations.refused(A, at(2_002));
        assert!(incarnations.is_refused(A), "it was never reached, and refuses again");
        incarnations.connected(A);
        assert!(!incarnations.is_refused(A) && !incarnations.is_dead(A));
        incarnations.refused(A, at(3_000));
        incarnations.heartbeat(A, 3, at(5_001));
        assert_eq!(incarnations.admit_heard(at(5_001)), [A]);
        incarnations.refused(A, at(5_002));
        assert!(!incarnations.is_refused(A), "it was reached once, and is heard");
    }
}
