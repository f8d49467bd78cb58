//! What is counted.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sessionmesh_core::id::Slot;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::session::Record;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Audit, Message};
use sessionmesh_core::wire::version::Version;

use super::{layers, nodes};
use crate::micro::pure::{ATTRIBUTES, batch, records, session};

/// Does what was prepared, once, and says how many operations that were.
pub(super) type Work = Box<dyn FnMut() -> anyhow::Result<u64>>;

/// One thing that is counted.
pub(super) struct Operation {
    /// Its name among the counts.
    pub(super) name: &'static str,
    /// Its name in the table.
    pub(super) what: &'static str,
    /// How often it is done in the two runs that are compared.
    pub(super) times: [u32; 2],
    /// Makes ready to do it so often.
    pub(super) prepare: fn(u32) -> anyhow::Result<Work>,
}

/// Often enough for what has maps with keys of their own: how these are ordered differs from run to run.
const HASHED: [u32; 2] = [250, 3_250];

/// All of them, in the order of the table.
pub(super) const OPERATIONS: [Operation; 20] = [
    Operation {
        name: "read",
        what: "`Mesh::load`, local, and `Session::get`, a short text of 8 attributes",
        times: [500, 1_000],
        prepare: nodes::read,
    },
    Operation {
        name: "commit-local",
        what: "insert 256 B and commit, `Ack::Local`",
        times: [500, 1_000],
        prepare: nodes::commit,
    },
    Operation {
        name: "sweep",
        what: "look at a session that is not over, in a sweep for idle ones",
        times: [2_000, 4_000],
        prepare: nodes::sweep,
    },
    Operation {
        name: "audit-question",
        what: "encode and decode the question of an audit, 4096 slots",
        times: [10, 20],
        prepare: audit_question,
    },
    Operation {
        name: "digest",
        what: "digest of 8 attributes of 256 B from scratch",
        times: [500, 1_000],
        prepare: digest,
    },
    Operation {
        name: "merge-1-of-8",
        what: "merge two records of 8 attributes of 256 B, 1 newer",
        times: [500, 1_000],
        prepare: |times| merge(times, 1),
    },
    Operation {
        name: "merge-8-of-8",
        what: "the same, all newer",
        times: [500, 1_000],
        prepare: |times| merge(times, ATTRIBUTES),
    },
    Operation {
        name: "encode-1",
        what: "encode a batch of 1 delta of 256 B",
        times: [500, 1_000],
        prepare: |times| encode(times, 1),
    },
    Operation { name: "decode-1", what: "decode it", times: [500, 1_000], prepare: |times| decode(times, 1) },
    Operation {
        name: "encode-100",
        what: "encode a batch of 100 deltas of 256 B",
        times: [50, 100],
        prepare: |times| encode(times, 100),
    },
    Operation { name: "decode-100", what: "decode it", times: [50, 100], prepare: |times| decode(times, 100) },
    Operation { name: "bare-read", what: "request that reads, no session", times: HASHED, prepare: layers::bare_read },
    Operation {
        name: "bare-write",
        what: "request that writes 256 B, no session",
        times: HASHED,
        prepare: layers::bare_write,
    },
    Operation {
        name: "empty-layer-read",
        what: "request that reads, no session, in a layer that does nothing",
        times: HASHED,
        prepare: layers::empty_layer_read,
    },
    Operation { name: "axum-read", what: "request that reads, own layer", times: HASHED, prepare: layers::axum_read },
    Operation {
        name: "axum-write",
        what: "request that writes 256 B, own layer",
        times: HASHED,
        prepare: layers::axum_write,
    },
    Operation {
        name: "tower-read",
        what: "request that reads, tower-sessions",
        times: HASHED,
        prepare: layers::tower_read,
    },
    Operation {
        name: "tower-write",
        what: "request that writes 256 B, tower-sessions",
        times: HASHED,
        prepare: layers::tower_write,
    },
    Operation {
        name: "actix-read",
        what: "request that reads, actix-session",
        times: HASHED,
        prepare: layers::actix_read,
    },
    Operation {
        name: "actix-write",
        what: "request that writes 256 B, actix-session",
        times: HASHED,
        prepare: layers::actix_write,
    },
];

/// What two nodes that hold the same say to each other is this question, and that nothing differs. Whole audits are not counted:
/// beside what the two nodes say to each other anyway, they drown.
fn audit_question(times: u32) -> anyhow::Result<Work> {
    let slots = Slot::all().map(|slot| (slot.number(), u64::from(slot.number()) << 32, 0)).collect();
    let question = Message::Audit(Audit { request: 1, view: 1, slots });
    Ok(Box::new(move || {
        for _ in 0..times {
            let bytes = codec::encode(black_box(&question), Version::NEWEST).context("it cannot be encoded")?;
            let is_read = black_box(codec::decode(&bytes, Version::NEWEST)).is_ok();
            ensure!(is_read, "it cannot be decoded");
        }
        Ok(times.into())
    }))
}

fn digest(times: u32) -> anyhow::Result<Work> {
    let session = session(ATTRIBUTES, 0);
    Ok(Box::new(move || {
        for _ in 0..times {
            black_box(black_box(&session).computed_digest());
        }
        Ok(times.into())
    }))
}

fn merge(times: u32, rewritten: usize) -> anyhow::Result<Work> {
    let other = Record::new(session(ATTRIBUTES, rewritten), Moment::START.plus_ms(1));
    // Copies that nobody shares, as in the store while nobody reads them.
    let mut held: Vec<Record> = (0..times).map(|_| Record::new(session(ATTRIBUTES, 0), Moment::START)).collect();
    Ok(Box::new(move || {
        for record in &mut held {
            black_box(black_box(record).merge(&other));
        }
        Ok(times.into())
    }))
}

fn encode(times: u32, deltas: usize) -> anyhow::Result<Work> {
    let records = records(&mut StdRng::seed_from_u64(1), deltas);
    Ok(Box::new(move || {
        let message = batch(&records);
        for _ in 0..times {
            black_box(codec::encode(black_box(&message), Version::NEWEST).context("a batch cannot be encoded")?);
        }
        Ok(times.into())
    }))
}

fn decode(times: u32, deltas: usize) -> anyhow::Result<Work> {
    let records = records(&mut StdRng::seed_from_u64(1), deltas);
    let message = batch(&records);
    let bytes = codec::encode(&message, Version::NEWEST).context("a batch cannot be encoded")?;
    let is_same = codec::decode(&bytes, Version::NEWEST).is_ok_and(|decoded| decoded == message);
    ensure!(is_same, "a batch is decoded as another one");
    Ok(Box::new(move || {
        for _ in 0..times {
            let _ = black_box(codec::decode(black_box(&bytes), Version::NEWEST));
        }
        Ok(times.into())
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_can_be_performed_and_is_performed_oftener_in_the_second_run() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        for operation in OPERATIONS {
            // As few as show it: here nothing is compared.
            let few = operation.times.map(|times| times.min(20) / (if times == operation.times[0] { 2 } else { 1 }));
            let done = few.map(|times| (operation.prepare)(times).and_then(|mut work| work()));
            let done = done.map(|done| done.unwrap_or_else(|error| panic!("{}: {error:#}", operation.name)));
            assert!(done[0] < done[1], "{}: {done:?}", operation.name);
        }
    }
}
