//! What clients did to one session, under all its ids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sessionmesh::SessionId;

use super::world::{Safe, World};
use super::{Did, Key, Reply, Request, What};

/// How far back is looked for what a writer had seen.
const ANCESTORS_MAX: usize = 500;
/// Lines kept of each login.
const HISTORY_MAX: usize = 60;
/// Accesses kept of each id.
const USES_MAX: usize = 64;

/// A value given to an attribute, or its removal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) value: u64,
    pub(super) removes: bool,
    /// What the writer had read of the attribute.
    pub(super) saw: Option<u64>,
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) start_ms: u64,
    pub(super) acked: Option<(u64, Safe)>,
    /// It was made, though perhaps not confirmed.
    pub(super) made: bool,
    /// It was made through a record store, and what of these crosses a renewal is dropped.
    pub(super) is_record: bool,
    /// It was not made.
    pub(super) refused: bool,
    /// The same value was written once more, so it may be later than what had seen it.
    pub(super) rewritten: bool,
    /// When all owners had it, and nobody anything older.
    pub(super) settled_ms: Option<u64>,
    /// Something else had taken its place at a settled moment.
    pub(super) superseded: bool,
    /// It was under way while the session got another id, and that or the write began then. It follows into the new
    /// session, but for a cluster that is not whole.
    pub(super) crossed_ms: Option<u64>,
}

impl Write {
    pub(super) fn crossed(&mut self, since_ms: u64) {
        let since_ms = self.crossed_ms.map_or(since_ms, |before| before.min(since_ms));
        self.crossed_ms = Some(since_ms.min(self.start_ms));
    }

    /// Whether nothing is promised of it: what crossed a renewal follows soon, but not at once.
    pub(super) fn is_excused(&self, world: &World, all_has_settled: bool) -> bool {
        let follows = |since_ms: u64| all_has_settled && world.whole_from(since_ms) && !world.crashed_since(since_ms);
        self.crossed_ms.is_some_and(|since_ms| self.is_record || !follows(since_ms))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) start_ms: u64,
    pub(super) acked: Option<(u64, Safe)>,
    pub(super) node: usize,
    pub(super) life: u32,
}

/// How an id came to be: by a new session or a new id for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) acked_ms: u64,
    pub(super) safe: Safe,
    /// When all owners had it.
    pub(super) settled_ms: Option<u64>,
}

impl Birth {
    pub(super) fn is_settled(&self, at_ms: u64) -> bool {
        self.settled_ms.is_some_and(|settled| settled <= at_ms)
    }
}

/// Something that a node served, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) value: Option<u64>,
    pub(super) at_ms: u64,
}

/// An access of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Not before this.
    pub(super) from_ms: u64,
    /// Through a handle that was read before: a node that owns nothing of it tells the owners when they would miss a tenth of the
    /// limit.
    pub(super) by_handle: bool,
}

/// One session of one visitor, under all its ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    /// Whose it is.
    pub(super) user: Option<usize>,
    /// Its requests use a record store.
    pub(super) is_record: bool,
    /// After so long without an access it ends, if it has a limit of its own.
    pub(super) idle_ms: Option<u64>,
    /// Attempts to end the sessions of its user that may have ended it.
    pub(super) sweeps: BTreeSet<u64>,
    /// Ids from which it moved, when the move was acknowledged, and to which id.
    pub(super) moved: BTreeMap<SessionId, (u64, SessionId)>,
    /// Attributes that are being written with the value they have, and how often.
    pub(super) rewriting: BTreeMap<Key, usize>,
    pub(super) ids: Vec<SessionId>,
    pub(super) births: BTreeMap<SessionId, Birth>,
    /// By attribute and value; values grow.
    pub(super) writes: BTreeMap<(Key, u64), Write>,
    /// Of each attribute, the writes that reads are compared with: all but those that a write which all must show has
    /// seen, directly or not.
    pub(super) open: BTreeMap<Key, BTreeSet<u64>>,
    /// Attempts to end an id, by a logout or a new id.
    pub(super) ends: BTreeMap<SessionId, Vec<End>>,
    pub(super) renewals: Vec<(u64, Option<u64>)>,
    /// What was last read of an attribute on a node, in one of its lives.
    pub(super) sightings: BTreeMap<(SessionId, Key, usize, u32), Sighting>,
    /// Accesses of each id that were noted for certain.
    pub(super) uses: BTreeMap<SessionId, VecDeque<Use>>,
    /// The last moment at which each id may have been accessed.
    pub(super) touched_ms: BTreeMap<SessionId, u64>,
    /// Requests that were not answered yet.
    pub(super) under_way: usize,
    /// Results of the counter, and where it was counted last; the first number is the largest that was acknowledged.
    pub(super) counted: (u64, Option<(usize, u32)>),
    /// It was counted on several nodes, or under several ids, so numbers may come twice.
    pub(super) counted_elsewhere: bool,
    /// It had ended at a settled moment.
    pub(super) over: bool,
    /// It may have ended by itself.
    pub(super) faded: bool,
    /// Its present id is not known, since the answer to a renewal was lost.
    pub(super) vague: bool,
    /// What was asked and answered last, for the report of a failure.
    pub(super) history: VecDeque<String>,
}

impl Login {
    pub(super) fn write_of(&mut self, request: &Request) -> Option<&mut Write> {
        let (key, value, _) = request.what.write(request.tab)?;
        self.writes.get_mut(&(key, value))
    }

    pub(super) fn begin(&mut self, request: &Request) {
        let Request { what, id, node, life, start_ms, .. } = *request;
        self.under_way += 1;
        if let Some((key, value, removes)) = what.write(request.tab) {
            let write = Write {
                key,
                value,
                removes,
                saw: None,
                node,
                life,
                start_ms,
                acked: None,
                made: false,
                is_record: self.is_record,
                refused: false,
                rewritten: false,
                settled_ms: None,
                superseded: false,
                crossed_ms: None,
            };
            self.writes.insert((key, value), write);
            self.open.entry(key).or_default().insert(value);
        }
        if what == What::Count {
            // From now on, whenever it is answered.
            let here = Some((node, life));
            let (largest, before) = self.counted;
            self.counted_elsewhere |= before.is_some() && before != here;
            self.counted = (largest, here);
        }
        // Each id is counted on, until all know that it was given up.
        self.counted_elsewhere |= what == What::Renew;
        if let What::Rewrite(key) = what {
            *self.rewriting.entry(key).or_default() += 1;
        }
        if let (What::Logout | What::Renew | What::Move, Some(id)) = (what, id) {
            self.ends.entry(id).or_default().push(End { start_ms, acked: None, node, life });
            if what.gives_id() {
                // Of parallel renewals each makes a session of its own.
                self.vague |= self.renewals.iter().any(|(_, to)| to.is_none());
                self.renewals.push((start_ms, None));
            }
        }
    }

    /// A value may have been written once more; unless nothing was changed.
    pub(super) fn note_rewritten(&mut self, request: &Request, reply: Option<&Reply>) {
        let What::Rewrite(key) = request.what else { return };
        if let Some(under_way) = self.rewriting.get_mut(&key) {
            *under_way -= 1;
        }
        let Some(reply) = reply else {
            // Nobody knows which.
            self.writes.range_mut((key, 0)..=(key, u64::MAX)).for_each(|(_, write)| write.rewritten = true);
            return;
        };
        let seen = reply.seen.as_ref().and_then(|(seen, _)| seen.value(key));
        let made = matches!(reply.did, Did::Acked(..) | Did::Unconfirmed(..)) && !reply.unchanged;
        if let Some(write) = seen.filter(|_| made).and_then(|value| self.writes.get_mut(&(key, value))) {
            write.rewritten = true;
        }
    }

    /// Whether a value that was there may be the latest once more.
    pub(super) fn is_rewriting(&self, key: Key) -> bool {
        self.rewriting.get(&key).is_some_and(|under_way| *under_way > 0)
    }

    pub(super) fn remember(&mut self, line: String) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    /// The session was served: it was accessed then.
    pub(super) fn used(&mut self, id: SessionId, request: &Request) {
        self.note_use(id, Use { from_ms: request.start_ms, by_handle: false });
    }

    /// It was accessed through a handle that was read before, not before this.
    pub(super) fn used_again(&mut self, id: SessionId, from_ms: u64) {
        self.note_use(id, Use { from_ms, by_handle: true });
    }

    fn note_use(&mut self, id: SessionId, used: Use) {
        let uses = self.uses.entry(id).or_default();
        if uses.len() == USES_MAX {
            uses.pop_front();
        }
        uses.push_back(used);
    }

    /// Whether "none" may be said of this id for what clients did: somebody tried to end it, or which id counts is not
    /// known.
    pub(super) fn may_be_over(&self, id: SessionId) -> bool {
        self.vague || self.over || self.ends.contains_key(&id) || !self.sweeps.is_empty()
    }

    /// It was under way to an id that was given up elsewhere, or was being given up.
    pub(super) fn is_between_ids(&self, id: SessionId, request: &Request, now_ms: u64) -> bool {
        let during = |(from, to): &(u64, Option<u64>)| to.is_none_or(|to| to >= request.start_ms) && *from <= now_ms;
        self.ids.last() != Some(&id) || self.renewals.iter().any(during)
    }

    /// The session has moved, or was at home.
    pub(super) fn note_moved(&mut self, request: &Request, id: SessionId, reply: &Reply, now_ms: u64) {
        let Some(from) = request.id else { return };
        if reply.unchanged {
            let is_mine = |end: &End| (end.start_ms, end.node) == (request.start_ms, request.node);
            if let Some(ends) = self.ends.get_mut(&from) {
                ends.retain(|end| !is_mine(end));
            }
            self.ends.retain(|_, ends| !ends.is_empty());
        } else if let Did::Acked(..) = reply.did {
            self.moved.insert(from, (now_ms, id));
        } else {
            self.vague = true;
        }
    }

    pub(super) fn close_renewal(&mut self, request: &Request, now_ms: u64) {
        for (_, to) in self.renewals.iter_mut().filter(|(from, _)| *from == request.start_ms) {
            *to = Some(now_ms);
        }
        // What was under way meanwhile may have gone to either id.
        for write in self.writes.values_mut().filter(|w| w.settled_ms.is_none()) {
            let ended = write.acked.map_or(u64::MAX, |(at, _)| at);
            if ended >= request.start_ms {
                write.crossed(request.start_ms);
            }
        }
    }

    /// What the node that made the new id had not seen crossed the renewal.
    pub(super) fn leave_behind(&mut self, renewed: &Reply) {
        let Some((seen, _)) = &renewed.seen else { return };
        for write in self.writes.values_mut().filter(|write| !write.superseded) {
            if seen.value(write.key) != Some(write.value) {
                write.crossed(write.start_ms);
            }
        }
    }

    /// All must show the write from now on, so what it has seen says nothing more.
    pub(super) fn settle(&mut self, key: Key, value: u64, now_ms: u64) {
        let Some(write) = self.writes.get_mut(&(key, value)) else { return };
        if write.settled_ms.is_some() {
            return;
        }
        write.settled_ms = Some(now_ms);
        let Some(open) = self.open.get_mut(&key) else { return };
        let mut saw = write.saw;
        while let Some(value) = saw.filter(|value| open.remove(value)) {
            saw = self.writes.get(&(key, value)).and_then(|write| write.saw);
        }
    }

    /// The attributes that were ever written.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.open.keys().copied().collect()
    }

    /// The writes that reads of this attribute are compared with.
    pub(super) fn open(&self, key: Key) -> impl Iterator<Item = &Write> {
        self.open.get(&key).into_iter().flatten().filter_map(move |value| self.writes.get(&(key, *value)))
    }
}

/// Whether `found` is certainly older than `write`.
///
/// Each writer had read the session before, and what it wrote outranks what it read. So a chain of such reads that leads
/// from the one to the other decides it.
pub(super) fn is_older(found: Option<u64>, write: &Write, writes: &BTreeMap<(Key, u64), Write>) -> bool {
    let ancestors = || {
        let mut at = write.saw;
        let values = std::iter::from_fn(move || {
            let value = at?;
            at = writes.get(&(write.key, value)).and_then(|write| write.saw);
            Some(value)
        });
        values.take(ANCESTORS_MAX)
    };
    let Some(found) = found else {
        // Nothing was there before the first value, and after each removal; a removal that the writer had not seen
        // may be the later one.
        let mut removals = writes.range((write.key, 0)..=(write.key, u64::MAX)).filter(|(_, other)| other.removes);
        return removals.next().is_none();
    };
    let again = |found: u64| writes.get(&(write.key, found)).is_some_and(|found| found.rewritten);
    found != write.value && !again(found) && ancestors().any(|ancestor| ancestor == found)
}

/// One line of a history.
pub(super) fn line(request: &Request, reply: Option<&Reply>, now_ms: u64) -> String {
    let Request { login, tab, what, id, node, life, start_ms, .. } = request;
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    let said = reply.map_or_else(|| "lost".to_owned(), Reply::brief);
    format!("{start_ms}..{now_ms} login {login} tab {tab} n{node}/{life} {what:?} {id}: {said}")
}
