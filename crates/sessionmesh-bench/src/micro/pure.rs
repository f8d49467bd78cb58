//! Operations of the library's pure parts.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::slots::Slots;
use sessionmesh_core::placement::view::{Member, MemberState, View};
use sessionmesh_core::replication::delta::Delta;
use sessionmesh_core::replication::outbox::{Lane, Outbox};
use sessionmesh_core::session::{Attribute, IdleLimit, Record, Session};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::terms::{Mode, Terms};
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Batch, Message};
use sessionmesh_core::wire::version::Version;

use super::timing::Timer;

/// Attributes of a session.
pub(crate) const ATTRIBUTES: usize = 8;
/// Bytes of each.
const BYTES: usize = 256;
/// Sessions that are marked and taken.
const MARKED: usize = 1_000;
/// Ids that are looked up in turn, so that not always the same line of memory is read.
const IDS: usize = 1 << 12;

/// Times all of them once.
pub(super) fn time(timer: &mut Timer<'_>) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    merges(timer);
    digests(timer);
    for count in [1, 100] {
        codec(timer, &mut rng, count)?;
    }
    let ids: Vec<SessionId> = (0..IDS).map(|_| any_id(&mut rng)).collect();
    let slots = Slots::new(&View::new((0..8).map(member)), Mode::PrimaryBackup { backups: 1 });
    let mut next = ids.iter().cycle();
    let mut next = || *next.next().expect("it goes round and round");
    timer.time("owners", &mut next, |id| slots.owners(id.slot()));
    let mut outbox = Outbox::default();
    timer.time("outbox", || (), |_| mark_and_take(&mut outbox, &ids[..MARKED]));
    timer.time("mint", || Slot::masked(7), |slot| SessionId::mint(&mut rng, *slot));
    Ok(())
}

fn member(number: u16) -> Member {
    Member {
        name: format!("node-{number}").into(),
        incarnation: 1,
        addr: (Ipv4Addr::LOCALHOST, number).into(),
        zone: Arc::from(""),
        state: MemberState::Ready,
        terms: Terms::NONE,
    }
}

fn any_id(rng: &mut StdRng) -> SessionId {
    let slot = Slot::masked(rng.random());
    SessionId::mint(rng, slot)
}

const fn stamp(counter: u64) -> Stamp {
    Stamp { counter, node: 1 }
}

fn attribute(number: usize, counter: u64) -> Attribute {
    let value = Some(Arc::from(vec![counter as u8; BYTES]));
    Attribute { key: format!("attribute-{number}").into(), value, stamp: stamp(counter) }
}

/// A session of which so many attributes were written again.
pub(crate) fn session(attributes: usize, rewritten: usize) -> Session {
    let mut session = Session::new(1, IdleLimit { stamp: Stamp::ZERO, ms: 1_800_000 });
    for number in 0..attributes {
        session.put(attribute(number, if number < rewritten { 2 } else { 1 }));
    }
    session
}

fn merges(timer: &mut Timer<'_>) {
    for rewritten in [1, ATTRIBUTES] {
        let other = Record::new(session(ATTRIBUTES, rewritten), Moment::START.plus_ms(1));
        // A copy that nobody shares, as in the store while nobody reads it.
        let held = || Record::new(session(ATTRIBUTES, 0), Moment::START);
        timer.time(&format!("merge-{rewritten}-of-{ATTRIBUTES}"), held, |record| record.merge(&other));
    }
}

fn digests(timer: &mut Timer<'_>) {
    let mut held = session(ATTRIBUTES, 0);
    timer.time("digest", || (), |_| held.computed_digest());
    let mut counter = 2;
    let next = || {
        counter += 1;
        Some(attribute(3, counter))
    };
    timer.time("put", next, |attribute| attribute.take().map(|attribute| held.put(attribute)));
}

/// So many sessions of one attribute each.
pub(crate) fn records(rng: &mut StdRng, count: usize) -> Vec<(SessionId, Record)> {
    (0..count).map(|_| (any_id(rng), Record::new(session(1, 0), Moment::START))).collect()
}

/// A batch with all of them.
pub(crate) fn batch(records: &[(SessionId, Record)]) -> Message<'_> {
    let deltas = records.iter().map(|(id, record)| Delta::since(*id, record, stamp(1), Moment::START)).collect();
    Message::Batch(Batch { seq: 1, counter: 1, deltas, tombstones: Vec::new() })
}

fn codec(timer: &mut Timer<'_>, rng: &mut StdRng, count: usize) -> anyhow::Result<()> {
    let records = records(rng, count);
    let message = batch(&records);
    let bytes = codec::encode(&message, Version::NEWEST).context("a batch cannot be encoded")?;
    anyhow::ensure!(
        codec::decode(&bytes, Version::NEWEST).is_ok_and(|decoded| decoded == message),
        "a batch is decoded as another one"
    );
    timer.time(&format!("encode-{count}"), || (), |_| codec::encode(&message, Version::NEWEST));
    timer.time(&format!("decode-{count}"), || (), |_| codec::decode(&bytes, Version::NEWEST));
    Ok(())
}

fn mark_and_take(outbox: &mut Outbox, ids: &[SessionId]) -> usize {
    for id in ids {
        outbox.mark(*id, stamp(1), Lane::Usual, false);
    }
    let mut taken = 0;
    while outbox.take().is_some() {
        taken += 1;
    }
    taken
}
