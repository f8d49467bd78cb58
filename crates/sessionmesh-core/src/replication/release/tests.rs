use rand::distr::{Distribution as _, weighted::WeightedIndex};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::arbitrary::id;
use crate::id::SessionId;
use crate::moment::Moment;

const fn version(digest: u64) -> Version {
    (digest, Moment::START)
}

fn nodes(numbers: &[u64]) -> Vec<NodeHash> {
    numbers.iter().copied().map(NodeHash).collect()
}

fn heard(digest: u64, by: &[u64]) -> HandoffConfirmations {
    let mut keeping = HandoffConfirmations::default();
    for node in nodes(by) {
        keeping.kept(id(1), version(digest), node);
    }
    keeping
}

#[test]
fn a_copy_may_go_when_every_owner_keeps_it() {
    let keeping = heard(5, &[1, 2, 2, 3]);
    assert!(keeping.may_drop(id(1), version(5), &nodes(&[1, 2])));
    assert!(!keeping.may_drop(id(1), version(5), &nodes(&[1, 4])));
    assert!(!keeping.may_drop(id(2), version(5), &nodes(&[1])));
}

#[test]
fn a_copy_never_goes_when_there_is_no_owner() {
    assert!(!heard(5, &[1]).may_drop(id(1), version(5), &[]));
}

#[test]
fn what_changed_since_must_be_kept_again_by_all() {
    let mut keeping = heard(5, &[1, 2]);
    let later_access = (5, Moment::START.plus_ms(1));
    assert!(!keeping.may_drop(id(1), version(6), &nodes(&[1])));
    assert!(!keeping.may_drop(id(1), later_access, &nodes(&[1])));
    keeping.kept(id(1), later_access, NodeHash(1));
    assert!(!keeping.may_drop(id(1), later_access, &nodes(&[1, 2])));
    keeping.kept(id(1), later_access, NodeHash(2));
    assert!(keeping.may_drop(id(1), later_access, &nodes(&[1, 2])));
}

#[test]
fn a_change_of_owners_forgets_the_slot_and_a_drop_the_session() {
    let [here, there] = [[0x10, 0x00], [0x20, 0x00]].map(|start| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&start);
        SessionId::from_bytes(bytes)
    });
    let mut keeping = HandoffConfirmations::default();
    keeping.kept(here, version(5), NodeHash(1));
    keeping.kept(there, version(5), NodeHash(1));
    keeping.owners_changed(|slot| slot == here.slot());
    assert!(!keeping.may_drop(here, version(5), &nodes(&[1])));
    assert!(keeping.may_drop(there, version(5), &nodes(&[1])));
    keeping.forget(there);
    assert!(keeping.is_empty());
}

/// The rule for letting go, and what it would be without one of its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    AsDesigned,
    CountsPassing,
    ForgivesOneOwner,
    IgnoresTheVersion,
    CountsAnswersToSendsUnderEarlierViews,
    RemembersAcrossOwnerChanges,
}

/// A copy is the set of the writes that it holds, one bit each, and merging is their union.
type Writes = u64;

#[derive(Default)]
struct Node {
    copy: Option<Writes>,
    /// The nodes it believes in, one bit each; maybe not itself, as one that leaves or was removed.
    view: u64,
    epoch: u64,
    keeping: HandoffConfirmations,
}

#[derive(Clone, Copy)]
enum Travelling {
    Delta { from: usize, to: usize, copy: Writes, epoch: u64 },
    Answer { from: usize, to: usize, copy: Writes, kept: bool, epoch: u64 },
}

/// One session on a few nodes that agree on nothing but the order of preference: the smaller index first.
struct Cluster {
    rule: Rule,
    copies_wanted: usize,
    /// How often views change, somebody writes, sends, receives and lets go, in proportion; another in each run.
    pace: WeightedIndex<u32>,
    nodes: Vec<Node>,
    travelling: Vec<Travelling>,
    written: Writes,
    dropped: u64,
}

impl Cluster {
    fn new(rule: Rule, rng: &mut StdRng) -> Self {
        let nodes = (0..rng.random_range(2..=4)).map(|_| Node { view: rng.random(), ..Node::default() }).collect();
        let copies_wanted = rng.random_range(1..=2);
        let pace = [1..=6, 0..=2, 1..=9, 5..=50, 5..=30].map(|range| rng.random_range(range));
        let pace = WeightedIndex::new(pace).expect("five small weights");
        let mut cluster = Self { rule, copies_wanted, pace, nodes, travelling: Vec::new(), written: 1, dropped: 0 };
        let first = cluster.any(rng);
        cluster.nodes[first].copy = Some(1);
        cluster
    }

    fn any(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.nodes.len())
    }

    fn owners(&self, node: usize) -> Vec<usize> {
        let view = self.nodes[node].view;
        (0..self.nodes.len()).filter(|member| view >> member & 1 == 1).take(self.copies_wanted).collect()
    }

    /// All that any node still holds.
    fn held(&self) -> Writes {
        self.nodes.iter().filter_map(|node| node.copy).fold(0, |all, copy| all | copy)
    }

    fn step(&mut self, rng: &mut StdRng) {
        let node = self.any(rng);
        match self.pace.sample(rng) {
            0 => {
                let view = rng.random();
                self.see(node, view);
            }
            1 => self.write(node),
            2 => self.owners(node).into_iter().for_each(|owner| self.send(node, owner)),
            3 if !self.travelling.is_empty() => {
                let at = rng.random_range(0..self.travelling.len());
                let message = self.travelling[at];
                match rng.random_range(0..8) {
                    0 => drop(self.travelling.swap_remove(at)),
                    1 | 2 => self.arrive(message),
                    _ => {
                        self.travelling.swap_remove(at);
                        self.arrive(message);
                    }
                }
            }
            _ => self.let_go(node),
        }
    }

    fn see(&mut self, node: usize, view: u64) {
        let before = self.owners(node);
        self.nodes[node].view = view;
        self.nodes[node].epoch += 1;
        if self.owners(node) != before && self.rule != Rule::RemembersAcrossOwnerChanges {
            self.nodes[node].keeping.owners_changed(|_| true);
        }
    }

    fn write(&mut self, node: usize) {
        let write = (self.written + 1) & !(1 << 63);
        if let Some(copy) = &mut self.nodes[node].copy {
            *copy |= write;
            self.written |= write;
        }
    }

    fn send(&mut self, from: usize, to: usize) {
        let epoch = self.nodes[from].epoch;
        if let Some(copy) = self.nodes[from].copy.filter(|_| from != to) {
            self.travelling.push(Travelling::Delta { from, to, copy, epoch });
        }
    }

    fn arrive(&mut self, message: Travelling) {
        match message {
            Travelling::Delta { from, to, copy, epoch } => {
                *self.nodes[to].copy.get_or_insert(0) |= copy;
                let kept = self.owners(to).contains(&to);
                self.travelling.push(Travelling::Answer { from: to, to: from, copy, kept, epoch });
            }
            Travelling::Answer { from, to, copy, kept, epoch } => {
                let version = version_of(self.rule, copy);
                let kept = kept || self.rule == Rule::CountsPassing;
                let fresh = epoch == self.nodes[to].epoch || self.rule == Rule::CountsAnswersToSendsUnderEarlierViews;
                if kept && fresh && !self.owners(to).contains(&to) {
                    self.nodes[to].keeping.kept(id(1), version, NodeHash(from as u64));
                }
            }
        }
    }

    fn let_go(&mut self, node: usize) {
        let owners = self.owners(node);
        let Some(copy) = self.nodes[node].copy.filter(|_| !owners.contains(&node)) else {
            return;
        };
        let mut asked: Vec<_> = owners.iter().map(|&owner| NodeHash(owner as u64)).collect();
        let forgiven = if self.rule == Rule::ForgivesOneOwner { asked.pop() } else { None };
        let keeping = &mut self.nodes[node].keeping;
        let nobody_left_to_ask = forgiven.is_some() && asked.is_empty();
        if nobody_left_to_ask || keeping.may_drop(id(1), version_of(self.rule, copy), &asked) {
            keeping.forget(id(1));
            self.nodes[node].copy = None;
            self.dropped += 1;
        }
    }

    /// All disagreement and all loss end: every owner sends to every owner until nothing moves.
    fn heal(&mut self, rng: &mut StdRng) {
        self.travelling.clear();
        let someone = 1 << self.any(rng);
        let view = rng.random::<u64>() | someone;
        for node in 0..self.nodes.len() {
            self.see(node, view);
        }
        for _ in 0..3 {
            for node in 0..self.nodes.len() {
                for owner in self.owners(node) {
                    self.send(node, owner);
                }
            }
            while let Some(message) = self.travelling.pop() {
                self.arrive(message);
            }
            (0..self.nodes.len()).for_each(|node| self.let_go(node));
        }
    }
}

const fn version_of(rule: Rule, copy: Writes) -> Version {
    version(if matches!(rule, Rule::IgnoresTheVersion) { 0 } else { copy })
}

const STEPS: usize = 500;

/// Runs one cluster. Says at which step something was lost, or else how many copies were let go.
fn run(rule: Rule, seed: u64) -> Result<u64, usize> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::new(rule, &mut rng);
    for step in 0..STEPS {
        cluster.step(&mut rng);
        if cluster.held() != cluster.written {
            return Err(step);
        }
    }
    let let_go = cluster.dropped;
    cluster.heal(&mut rng);
    let owners = cluster.owners(0);
    for (number, node) in cluster.nodes.iter().enumerate() {
        let expected = owners.contains(&number).then_some(cluster.written);
        assert_eq!(node.copy, expected, "node {number} after healing, seed {seed}");
    }
    Ok(let_go)
}

#[test]
fn no_disagreement_of_views_can_lose_the_last_copy_of_anything() {
    let mut let_go = 0;
    for seed in 0..5_000 {
        let_go += run(Rule::AsDesigned, seed).unwrap_or_else(|step| panic!("seed {seed} loses at step {step}"));
    }
    assert!(let_go > 5_000, "only {let_go} copies were let go, so the runs show little");
}

#[test]
fn each_part_of_the_rule_is_needed() {
    for rule in [
        Rule::CountsPassing,
        Rule::ForgivesOneOwner,
        Rule::IgnoresTheVersion,
        Rule::CountsAnswersToSendsUnderEarlierViews,
        Rule::RemembersAcrossOwnerChanges,
    ] {
        let found = (0..5_000).find(|&seed| run(rule, seed).is_err());
        assert!(found.is_some(), "{rule:?} loses nothing, so the check could not see it");
    }
}

#[test]
fn a_copy_goes_only_from_who_does_not_own_it_while_no_owner_joins_and_no_commit_waits() {
    let slot_of = |placement: &Placement, owned: bool| {
        Slot::all().find(|slot| placement.is_owner(*slot) == owned).expect("some slots are owned by others")
    };
    let calm = crate::arbitrary::placement("a", &["a", "b", "c"]);
    let theirs = slot_of(&calm, false);
    assert!(is_droppable(&calm, theirs, || false));
    assert!(!is_droppable(&calm, theirs, || true), "a commit waits");
    assert!(!is_droppable(&calm, slot_of(&calm, true), || false), "it is an owner");
    let joining = crate::arbitrary::placement("a", &["a", "b", "+c"]);
    assert!(!is_droppable(&joining, slot_of(&joining, false), || false), "c may die before it is ready");
}
