//! Valid messages, and what becomes of them.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _};
use sessionmesh::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::delta::{Delta, SlotTombstones, WireEnd};
use sessionmesh_core::session::{IdleLimit, Record, Session};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::users::UserKey;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Audit, Batch, ExpireAsk, ExpireItem, Message, Ping, ReadQuery, UserQuery, Want};
use sessionmesh_core::wire::version::Version;

/// One valid message of each kind that a dialler may send, except those that act for another node.
pub(crate) fn valid_messages(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    let id = SessionId::from_bytes(bytes);
    rng.fill_bytes(&mut bytes);
    let other = SessionId::from_bytes(bytes);
    let stamp = Stamp { counter: rng.random_range(1..1_000), node: 7 };
    let mut session = Session::new(1, IdleLimit { stamp, ms: 60_000 });
    for key in ["a", "bb", "ccc"] {
        let value = Some(Arc::from(&[7_u8; 100][..]));
        session.put(sessionmesh_core::session::Attribute { key: Arc::from(key), value, stamp });
    }
    let record = Record::new(session, Moment::START);
    let delta = Delta::since(id, &record, Stamp::ZERO, Moment::START.plus_ms(5));
    let item = ExpireItem { id, revision: stamp, age_ms: 1_000_000 };
    let of_slot = |number| {
        let end = WireEnd { stamp, successor: None, retention_ms: u64::MAX, age_ms: 5 };
        SlotTombstones { slot: number, digest: 9, ended: vec![(other, end); 3] }
    };
    let slots = (0..64).map(|slot| (slot, rng.random(), rng.random())).collect();
    [
        Message::Batch(Batch {
            seq: 1,
            counter: 7,
            deltas: vec![delta],
            tombstones: vec![of_slot(other.slot().number().into()), of_slot(u32::MAX)],
        }),
        Message::Ping(Ping { sent: 5, view: rng.random(), counter: 7, leaving: false }),
        Message::ReadQuery(ReadQuery { request: 1, id, digest: 0, access: true }),
        Message::ExpireAsk(ExpireAsk { request: 2, items: vec![item; 3] }),
        Message::Audit(Audit { request: 3, view: rng.random(), slots }),
        Message::Want(Want { ids: vec![id; 10], tombstones: vec![0, 4095, u16::MAX] }),
        Message::UserQuery(UserQuery { request: 4, rule: rng.random(), user: UserKey::of("ada"), after: Some(id) }),
    ]
    .iter()
    .map(|message| codec::encode(message, Version::NEWEST).expect("it is small"))
    .collect()
}

/// Flips, cuts, doubles or overwrites some of it.
pub(crate) fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_within(at..),
            3 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            4 => {
                // A length or a counter, perhaps.
                let end = bytes.len().min(at + 8);
                bytes[at..end].fill([0, 0xff][rng.random_range(0..2)]);
            }
            _ => drop(bytes.drain(at..bytes.len().min(at + 3))),
        }
    }
}
