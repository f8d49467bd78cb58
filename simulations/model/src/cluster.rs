//! The state of the model: three nodes, what each of them knows of the others, and the history that promises speak of.

use std::fmt;

use crate::promises::Promise;

/// Nodes that there can be.
pub const NODES: usize = 3;
/// Sessions that there can be.
pub const SESSIONS: usize = 2;
/// Writes that one session can see; the first one creates it.
pub const WRITES: usize = 3;
/// The fact of an end, beside those of the writes.
pub const END: usize = WRITES;

/// A member in a view: 0 for none, else its life (1 or 2) and its state.
pub type Entry = u8;
/// Who is a member, and in which life and state, by the number of the node.
pub type View = [Entry; NODES];

/// A node that has not got all yet.
pub const JOINING: u8 = 0;
/// A node that has.
pub const READY: u8 = 1;
/// A node that hands over and will stop.
pub const LEAVING: u8 = 2;

/// The member that is this life of a node, in this state.
#[must_use]
pub const fn entry(life: u8, state: u8) -> Entry {
    1 + 3 * (life - 1) + state
}

/// The life of a member; 0 for none.
#[must_use]
pub const fn life_of(entry: Entry) -> u8 {
    entry.div_ceil(3)
}

/// The state of a member.
#[must_use]
pub const fn state_of(entry: Entry) -> u8 {
    (entry + 2) % 3
}

/// The view as its hash sees it: joining and ready are the same.
#[must_use]
pub fn hashed(view: View) -> View {
    view.map(|seen| if seen != 0 && state_of(seen) == JOINING { seen + 1 } else { seen })
}

/// What a node holds of a session: a set of writes, or that it has ended, which absorbs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held(pub u8);

impl Held {
    /// Nothing at all.
    pub const NOTHING: Self = Self(0);
    /// Its tombstone.
    pub const ENDED: Self = Self(1 << WRITES);
    /// How many different ones there are.
    pub const ALL: u8 = Self::ENDED.0 + 1;

    /// Whether it holds this write, or the end, if `fact` is that.
    #[must_use]
    pub fn has(self, fact: usize) -> bool {
        self == Self::ENDED || self.0 >> fact & 1 == 1
    }

    /// Whether the session lives in it.
    #[must_use]
    pub fn is_live(self) -> bool {
        self != Self::NOTHING && self != Self::ENDED
    }
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It was not started yet, or has crashed.
    #[default]
    Down,
    /// It runs.
    Up,
    /// It stands still.
    Frozen,
    /// It has left as planned.
    Left,
}

/// Of a lease, what its holder knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lease {
    /// It was not granted when it was asked for last, or the link broke.
    #[default]
    None,
    /// It was granted under this view, and has run out.
    Over(View),
    /// It runs, under this view of the one who granted it.
    Runs(View),
}

/// A mark in the outbox: the item is dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The stamp from which the peer may lack it: 0 for all, 255 for the question whether it has all.
    pub from: u8,
    /// The lane: 0 awaited, 1 usual, 2 bulk.
    pub lane: u8,
    /// The peer gets no lease before it has this.
    pub owed: bool,
}

/// How a peer answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It keeps it as an owner.
    Kept,
    /// It passes it on.
    InTransit,
    /// What came does not fit.
    NeedsWhole,
}

/// An item under way: it has arrived, and the answer is on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The mark that it was.
    pub mark: Mark,
    /// What was sent.
    pub sent: Held,
    /// The answer.
    pub verdict: Verdict,
    /// The view of the answer.
    pub view: View,
    /// It was sent before the commit that waits now was made.
    pub before_commit: bool,
    /// It was sent under the present owners.
    pub this_epoch: bool,
}

/// An item of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// It is dirty.
    pub mark: Option<Mark>,
    /// It is under way.
    pub way: Option<Way>,
    /// The peer has it and is no owner by its own view.
    pub parked: bool,
    /// What a planted mistake lets the peer merge later, and from which stamp on.
    pub late: Option<(u8, Held)>,
}

/// What a node knows of another one, and has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Which life of it this is about; 0 for none.
    pub life: u8,
    /// The last lease that this node granted to it may still run.
    pub granted: bool,
    /// It had all that it was owed under this view.
    pub caught_up: View,
    /// Commits do not wait for it once its lease is over.
    pub suspected: bool,
    /// This node was stalled, and has not heard since that it is counted.
    pub doubted: bool,
    /// 0: it answers. 1: it is silent. 2: it is silent for long.
    pub silence: u8,
    /// The view that it reported last.
    pub view: View,
    /// It has reported that view for as long as a lease lasts.
    pub view_outlasts_leases: bool,
    /// What it granted to this node.
    pub lease: Lease,
    /// An audit with it is due.
    pub audit: bool,
    /// What it may lack.
    pub outgoing: [Outgoing; SESSIONS],
}

impl Peer {
    /// A peer that was just heard of.
    #[must_use]
    pub fn new(life: u8) -> Self {
        Self { life, audit: true, ..Self::default() }
    }

    /// Whether nothing is dirty and nothing under way.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.outgoing.iter().all(|item| item.mark.is_none() && item.way.is_none())
    }

    /// Whether it must have something before it may trust its own copies.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        let owed = |item: &Outgoing| item.mark.is_some_and(|m| m.owed) || item.way.is_some_and(|w| w.mark.owed);
        self.outgoing.iter().any(owed)
    }

    /// The link broke: what was under way is dirty again.
    pub fn break_link(&mut self) {
        self.lease = Lease::None;
        for item in &mut self.outgoing {
            if let Some(way) = item.way.take() {
                let before = item.mark.unwrap_or(way.mark);
                item.mark = Some(Mark {
                    from: before.from.min(way.mark.from),
                    lane: before.lane.min(way.mark.lane),
                    owed: before.owed || way.mark.owed,
                });
                item.parked = false;
            }
        }
        self.audit = true;
    }
}

/// A commit that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The write, or [`END`].
    pub fact: u8,
    /// It has been calm since it was asked for, and nobody suspected.
    pub calm: bool,
    /// Who said how that it holds it.
    pub answers: [Option<Answer>; NODES],
}

/// What a peer said to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It keeps it, under this view.
    Kept(View),
    /// It passes it on.
    InTransit,
}

/// Who said `kept` to what this node holds without owning it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Confirmed {
    /// To which copy.
    pub version: Held,
    /// Who, as bits.
    pub by: u8,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its life: 0 if it was never started.
    pub life: u8,
    /// Where it is in that.
    pub phase: Phase,
    /// Its view, with its own state.
    pub view: View,
    /// Views that were replaced while leases of them may run, the oldest first.
    pub earlier: [View; 2],
    /// The view before, for the scan.
    pub before: View,
    /// The store was scanned since.
    pub scanned: bool,
    /// The lives that were in the view once, as bits.
    pub known: u8,
    /// The same when the view was adopted.
    pub known_at_scan: u8,
    /// Members that vanished: as they were in the view.
    pub gone: View,
    /// Those of them that are dead, not cut off, as bits.
    pub dead: u8,
    /// What it holds of each session.
    pub store: [Held; SESSIONS],
    /// Commits that wait.
    pub commits: [Option<Commit>; SESSIONS],
    /// What the keeping rule has heard.
    pub confirmed: [Confirmed; SESSIONS],
    /// The other nodes.
    pub peers: [Peer; NODES],
}

/// How far a write or an end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It was not made.
    #[default]
    No,
    /// It was made, and nobody was told that it holds.
    Made,
    /// It was acknowledged.
    Acknowledged,
}

/// What is known to the checker of a write or an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fact {
    /// How far it has come.
    pub stage: Stage,
    /// With so many copies, counted as the promises do.
    pub copies: u8,
    /// The nodes that crashed since it was asked for, or was repaired, as bits.
    pub crashed: u8,
    /// The nodes that hold it, or did so until they crashed or let go of it, as bits.
    pub holders: u8,
    /// It has been whole since it was asked for.
    pub whole: bool,
    /// The nodes that were there when it was repaired, and are in the same life, as bits.
    pub repaired: u8,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Writes of each session.
    pub writes: u8,
    /// Ends of sessions.
    pub ends: u8,
    /// Writes of a request that read the session long ago.
    pub late_saves: u8,
    /// Commits that nobody waits for.
    pub unawaited: u8,
    /// Crashes.
    pub crashes: u8,
    /// Links that are cut, or nodes that are cut off.
    pub cuts: u8,
    /// Nodes that are frozen.
    pub stalls: u8,
    /// Nodes that are started, for the first time or again.
    pub joins: u8,
    /// Nodes that leave.
    pub leaves: u8,
}

/// A state of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The nodes.
    pub nodes: [Node; NODES],
    /// The links that are cut, as bits.
    pub cut: u8,
    /// What may still happen.
    pub left: Budget,
    /// What was written and ended.
    pub facts: [[Fact; WRITES + 1]; SESSIONS],
    /// Something kept nodes apart since the last calm.
    pub split: bool,
    /// A node was frozen since the last calm.
    pub was_frozen: bool,
    /// A promise that is broken.
    pub broken: Option<Promise>,
}

impl Cluster {
    /// Whether both run, and the link between them is not cut.
    #[must_use]
    pub fn is_linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].phase == Phase::Up && self.nodes[b].phase == Phase::Up && !self.is_cut(a, b)
    }

    /// Whether the link between them is cut.
    #[must_use]
    pub const fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut >> (a + b - 1) & 1 == 1
    }

    /// Whether what `at` sends to `to` arrives, and the other way round: they run, are linked, and `at` knows this life.
    #[must_use]
    pub fn reaches(&self, at: usize, to: usize) -> bool {
        self.is_linked(at, to) && self.nodes[at].peers[to].life == self.nodes[to].life
    }

    /// Whether gossip of `to` comes to `at`, directly or by the third node.
    #[must_use]
    pub fn hears(&self, at: usize, to: usize) -> bool {
        let third = NODES - at - to;
        self.is_linked(at, to) || (self.is_linked(at, third) && self.is_linked(third, to))
    }

    /// Whether `to` is in the view of `at`, in whatever life.
    #[must_use]
    pub const fn sees(&self, at: usize, to: usize) -> bool {
        self.nodes[at].view[to] != 0
    }

    /// The nodes that hold something of a session and may come to tell of it.
    pub fn alive(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.phase, Phase::Up | Phase::Frozen))
    }

    /// Writes `held` into the store of a node.
    pub fn hold(&mut self, at: usize, session: usize, held: Held) {
        self.nodes[at].store[session] = held;
        for (number, fact) in self.facts[session].iter_mut().enumerate() {
            if held.has(number) && fact.stage > Stage::No {
                fact.holders |= 1 << at;
            }
        }
    }

    /// Notes a broken promise, unless there is one.
    pub fn break_promise(&mut self, promise: Promise) {
        self.broken.get_or_insert(promise);
    }

    /// Nothing is disturbed, all nodes that are up are ready, and see exactly each other; and nobody suspects another.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let mut seen = [0; NODES];
        for (at, node) in self.alive() {
            seen[at] = entry(node.life, READY);
        }
        let calm = |(_, node): (usize, &Node)| {
            let silent = |(to, peer): (usize, &Peer)| seen[to] != 0 && (peer.silence > 0 || peer.suspected);
            node.phase == Phase::Up && node.view == seen && !node.peers.iter().enumerate().any(silent)
        };
        self.cut == 0 && self.alive().all(calm)
    }
}

/// The name of a node.
#[derive(Clone, Copy, Debug)]
pub struct Name(pub usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES[self.0])
    }
}

/// The names of the nodes.
pub const NAMES: [&str; NODES] = ["a", "b", "c"];
