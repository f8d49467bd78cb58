//! Merging, by the rules of `sessionmesh-core`: each case is computed once, with real sessions and real deltas.

use std::sync::LazyLock;

use sessionmesh_core::entry::Entry;
use sessionmesh_core::expiry::Role;
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::replication::delta::{Applied, Delta};
use sessionmesh_core::replication::effects::{Merged as RealMerged, Snapshot, after_merge};
use sessionmesh_core::session::{Attribute, IdleLimit, Invalidated, Record, Session};
use sessionmesh_core::stamp::Stamp;

use crate::cluster::{Held, WRITES};
use crate::places::NOW;

/// From the beginning: the whole session.
pub(crate) const WHOLE: u8 = 0;
/// Nothing but the question "do you have all of this?".
pub(crate) const QUESTION: u8 = u8::MAX;

/// What came of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// It does not fit. Nothing was changed.
    NeedsWhole,
    /// The receiver holds this now.
    Now {
        /// What it holds.
        held: Held,
        /// The sender lacks something, and gets it.
        send_back: bool,
        /// Whoever is no owner passes it on from this stamp.
        forward: Option<u8>,
    },
}

/// All cases.
#[derive(Clone, Debug)]
pub(crate) struct Merges(Vec<Merged>);

const FROMS: usize = WRITES + 2;

impl Merges {
    /// Computes all cases, with whatever mistake is planted in this thread.
    #[must_use]
    pub(crate) fn computed() -> Self {
        let froms = (0..=WRITES).map(|from| u8::try_from(from).expect("there are few")).chain([QUESTION]);
        let all = || (0..Held::ALL).map(Held);
        let cases = froms.flat_map(|from| all().flat_map(move |sent| all().map(move |held| (from, sent, held))));
        Self(cases.map(|(from, sent, held)| merge(from, sent, held)).collect())
    }

    /// What comes of sending `sent` from this stamp on to somebody who holds `held`.
    #[must_use]
    pub(crate) fn of(&self, from: u8, sent: Held, held: Held) -> Merged {
        let from = if from == QUESTION { FROMS - 1 } else { usize::from(from) };
        let all = usize::from(Held::ALL);
        self.0[(from * all + usize::from(sent.0)) * all + usize::from(held.0)]
    }
}

fn merge(from: u8, sent: Held, held: Held) -> Merged {
    let Some(sent) = record(sent) else { return Merged::NeedsWhole };
    let id = Slot::masked(0).first();
    let delta = Delta::since(id, &sent, stamp(from), NOW);
    let mut record = record(held);
    let snapshot = |record: &Option<Record>| Snapshot::of(record.clone().map(Entry::new).as_ref());
    let before = snapshot(&record);
    let Applied::Merged { changed, newer } = delta.apply(&mut record, NOW) else { return Merged::NeedsWhole };
    let after = snapshot(&record);
    let effects = after_merge(RealMerged {
        delta: &delta,
        before,
        after,
        overtaken: Vec::new(),
        changed,
        newer,
        reprieved: false,
        role: Role::Stranger,
        from_outside: false,
    });
    let forward = effects.forward.map(|from| match from {
        Stamp::DIGEST_ONLY => QUESTION,
        from => u8::try_from(from.counter).expect("there are few"),
    });
    Merged::Now { held: copy(record.as_ref()), send_back: effects.send_back, forward }
}

/// The stamp of this number.
#[must_use]
pub(crate) fn stamp(from: u8) -> Stamp {
    match from {
        WHOLE => Stamp::ZERO,
        QUESTION => Stamp::DIGEST_ONLY,
        from => Stamp { counter: u64::from(from), node: 7 },
    }
}

/// The id of a session in a slot.
#[must_use]
pub(crate) const fn id_in(slot: Slot) -> SessionId {
    slot.first()
}

static RECORDS: LazyLock<Vec<Option<Record>>> = LazyLock::new(|| (0..Held::ALL).map(|held| made(Held(held))).collect());

/// The real record of a copy; none for nothing.
#[must_use]
pub(crate) fn record(held: Held) -> Option<Record> {
    RECORDS[usize::from(held.0)].clone()
}

fn made(held: Held) -> Option<Record> {
    match held {
        Held::NOTHING => None,
        Held::ENDED => Some(Record::tombstone(Invalidated {
            successor: None,
            // Late saves have later stamps.
            stamp: stamp(1),
            retention_ms: 86_400_000,
            since: NOW,
        })),
        Held(writes) => {
            let mut session = Session::new(0, IdleLimit { stamp: stamp(1), ms: 1_800_000 });
            let written = (0..WRITES).filter(|write| writes >> write & 1 == 1);
            session.put_all(written.map(|write| Attribute {
                key: write.to_string().into(),
                value: Some([7].into()),
                stamp: stamp(write as u8 + 1),
            }));
            Some(Record::new(session, NOW))
        }
    }
}

/// The copy that a real record is.
#[must_use]
pub(crate) fn copy(record: Option<&Record>) -> Held {
    let Some(record) = record else { return Held::NOTHING };
    let same = |held: &Held| {
        RECORDS[usize::from(held.0)].as_ref().is_some_and(|real| real.session.digest() == record.session.digest())
    };
    (0..Held::ALL).map(Held).find(same).expect("it is made of what the model writes")
}
