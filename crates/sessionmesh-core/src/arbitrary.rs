//! Records, deltas and messages for property tests.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::id::SessionId;
use crate::moment::Moment;
use crate::placement::Placement;
use crate::placement::slots::Slots;
use crate::placement::view::{Member, MemberState, View};
use crate::replication::delta::{Content, Delta, SlotTombstones, WireAttribute, WireEnd};
use crate::session::{Attribute, Expired, IdleLimit, Invalidated, Record, Session, Successor};
use crate::stamp::Stamp;
use crate::terms::{Mode, Terms};
use crate::users::UserKey;
use crate::wire::message::{
    Answers, Audit, AuditDiffers, Batch, ExpireAsk, ExpireItem, ExpireVotes, Figures, FiguresQuery, FiguresReply,
    Gossip, Held, Hello, Message, Ping, Pong, ReadQuery, ReadReply, Refused, UserQuery, UserReply, Want, Welcome,
};

/// When the nodes of a generated history look at their clocks: after all that happened in it.
pub(crate) const NOW: Moment = Moment::START.plus_ms(1_000_000);

pub(crate) fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

pub(crate) const fn stamp(counter: u64, node: u64) -> Stamp {
    Stamp { counter, node }
}

pub(crate) fn attribute(key: &str, value: Option<&[u8]>, stamp: Stamp) -> Attribute {
    Attribute { key: key.into(), value: value.map(Into::into), stamp }
}

pub(crate) fn session() -> Session {
    Session::new(1_000, IdleLimit { stamp: stamp(1, 0), ms: 60_000 })
}

/// A member of its first incarnation, under which each slot has one backup.
pub(crate) fn member(name: &str, state: MemberState) -> Member {
    Member {
        name: name.into(),
        incarnation: 1,
        addr: "127.0.0.1:4000".parse().expect("an address"),
        zone: "".into(),
        state,
        terms: Terms { mode: Mode::PrimaryBackup { backups: 1 }, ..Terms::NONE },
    }
}

/// The placement of node `me` under a view of these. Those after a `+` are joining, those after a `-` leaving.
pub(crate) fn placement(me: &str, names: &[&str]) -> Placement {
    let state = |name: &str| match name.as_bytes().first() {
        Some(b'+') => MemberState::Joining,
        Some(b'-') => MemberState::Leaving,
        _ => MemberState::Ready,
    };
    let view = View::new(names.iter().map(|name| member(name.trim_start_matches(['+', '-']), state(name))));
    let slots = Arc::new(Slots::new(&view, view.in_force().mode));
    Placement::new(1, view, slots, me)
}

/// What a digest covers. The moments of an end are not in it.
pub(crate) fn content(session: &Session) -> impl PartialEq + std::fmt::Debug + use<> {
    let end = session.invalidated().map(|end| (end.successor, end.stamp, end.retention_ms));
    let expired = session.expired().map(|mark| mark.revision);
    (session.attributes().to_vec(), session.idle_limit(), session.created_ms(), expired, end)
}

/// What one of several nodes does to its copy of one session.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, Option<Vec<u8>>),
    Limit(u64),
    Created(u64),
    Access(u64),
    Expire,
    Invalidate(Option<Successor>, u64, u64),
    Merge(usize),
}

fn steps(nodes: usize) -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        8 => (0..4_u8, option::weighted(0.7, vec(any::<u8>(), 0..3))).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (1..100_000_u64).prop_map(Step::Limit),
        1 => (0..2_000_u64).prop_map(Step::Created),
        3 => (0..1_000_000_u64).prop_map(Step::Access),
        2 => Just(Step::Expire),
        1 => (next_ids(), 1..9_u64, 0..1_000_000_u64).prop_map(|(next, keep, at)| Step::Invalidate(next, keep, at)),
        4 => (0..nodes).prop_map(Step::Merge),
    ];
    vec((0..nodes, step), 0..24)
}

/// What took the place of an ended session, if anything: one of few, so that equal ones meet.
pub(crate) fn next_ids() -> impl Strategy<Value = Option<Successor>> {
    option::of((0..3_u8, flag()).prop_map(|(number, moved)| successor(id(number), moved)))
}

fn successor(id: SessionId, moved: bool) -> Successor {
    if moved { Successor::Moved(id) } else { Successor::Renewed(id) }
}

/// Copies of one session on `N` nodes that wrote to it, merged now and then, and never used a stamp twice.
pub(crate) fn copies<const N: usize>() -> impl Strategy<Value = [Record; N]> {
    steps(N).prop_map(|steps| {
        let mut copies: [_; N] = std::array::from_fn(|_| (Record::new(session(), Moment::START), 1_u64));
        for (node, step) in steps {
            let other = if let Step::Merge(other) = step { Some(copies[other].clone()) } else { None };
            let (record, clock) = &mut copies[node];
            *clock = 1 + other.as_ref().map_or(*clock, |(_, theirs)| *theirs.max(clock));
            take_step(record, &step, stamp(*clock, node as u64 + 1), other.map(|(record, _)| record));
        }
        copies.map(|(record, _)| record)
    })
}

fn take_step(record: &mut Record, step: &Step, stamp: Stamp, other: Option<Record>) {
    let mut session = (*record.session).clone();
    match step {
        Step::Put(key, value) => {
            session.put(attribute(&key.to_string(), value.as_deref(), stamp));
        }
        Step::Limit(ms) => {
            session.set_idle_limit(IdleLimit { stamp, ms: *ms });
        }
        Step::Created(ms) => {
            session.set_created(*ms);
        }
        Step::Access(ms) => record.access = record.access.max(Moment::START.plus_ms(*ms)),
        Step::Expire => {
            session.expire(Expired { revision: session.revision(), access: record.access });
        }
        Step::Invalidate(successor, retention_ms, at) => {
            let since = Moment::START.plus_ms(*at);
            session.invalidate(Invalidated { successor: *successor, stamp, retention_ms: *retention_ms, since });
        }
        Step::Merge(_) => {
            record.merge(&other.expect("a merge has its other side"));
            return;
        }
    }
    record.session = session.into();
    record.rest();
}

fn num() -> impl Strategy<Value = u64> {
    any::<u64>()
}

fn short() -> impl Strategy<Value = u16> {
    any::<u16>()
}

fn flag() -> impl Strategy<Value = bool> {
    any::<bool>()
}

/// Lives as long as the test process, so that a generated message can borrow it.
fn leaked_str() -> impl Strategy<Value = &'static str> {
    "\\PC{0,6}".prop_map(|text| &*Box::leak(text.into_boxed_str()))
}

fn leaked_bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| &*Box::leak(bytes.into_boxed_slice()))
}

fn ids() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_bytes)
}

fn stamps() -> impl Strategy<Value = Stamp> {
    (num(), num()).prop_map(|(counter, node)| Stamp { counter, node })
}

fn wire_ends() -> impl Strategy<Value = WireEnd> {
    (stamps(), option::of((ids(), flag())), num(), num()).prop_map(|(stamp, next, retention_ms, age_ms)| {
        let successor = next.map(|(id, moved)| successor(id, moved));
        WireEnd { stamp, successor, retention_ms, age_ms }
    })
}

fn slots() -> impl Strategy<Value = SlotTombstones> {
    let ended = vec((ids(), wire_ends()), 0..4);
    (any::<u32>(), num(), ended).prop_map(|(slot, digest, ended)| SlotTombstones { slot, digest, ended })
}

pub(crate) fn deltas() -> impl Strategy<Value = Delta<'static>> {
    let attribute = (leaked_str(), option::of(leaked_bytes()), stamps())
        .prop_map(|(key, value, stamp)| WireAttribute { key, value, stamp });
    let expired = option::of((stamps(), num()));
    let content = prop_oneof![
        (num(), num(), stamps(), expired, vec(attribute, 0..4)).prop_map(
            |(created_ms, idle_limit_ms, idle_limit_stamp, expired, attributes)| Content::Session {
                created_ms,
                idle_limit_ms,
                idle_limit_stamp,
                expired,
                attributes
            }
        ),
        wire_ends().prop_map(Content::Tombstone),
    ];
    (ids(), stamps(), num(), num(), num(), content).prop_map(|(id, from, base, digest, age_ms, content)| Delta {
        id,
        from,
        base,
        digest,
        age_ms,
        content,
    })
}

fn links() -> impl Strategy<Value = Message<'static>> {
    let hello = ((any::<u32>(), short(), short(), num(), num(), num()), leaked_str(), leaked_str(), leaked_str());
    prop_oneof![
        hello.prop_map(|(numbers, cluster, name, addr)| {
            let (magic, version_min, version_max, incarnation, expects, counter) = numbers;
            Message::Hello(Hello {
                magic,
                version_min,
                version_max,
                cluster,
                name,
                incarnation,
                addr,
                expects,
                counter,
            })
        }),
        (short(), leaked_str(), num(), num()).prop_map(|(version, name, incarnation, counter)| Message::Welcome(
            Welcome { version, name, incarnation, counter }
        )),
        Just(Message::Refused(Refused::Cluster)),
        (short(), short()).prop_map(|(min, max)| Message::Refused(Refused::Version { min, max })),
        num().prop_map(|known| Message::Refused(Refused::Stale { known })),
        (num(), num(), num(), flag()).prop_map(|(sent, view, counter, leaving)| Message::Ping(Ping {
            sent,
            view,
            counter,
            leaving
        })),
        (num(), num(), num(), flag(), flag()).prop_map(|(sent, view, counter, granted, clear)| Message::Pong(Pong {
            sent,
            view,
            counter,
            granted,
            clear
        })),
        Just(Message::Bye),
    ]
}

fn changes() -> impl Strategy<Value = Message<'static>> {
    let held = prop_oneof![
        num().prop_map(|age_ms| Held::Same { age_ms }),
        deltas().prop_map(Held::This),
        Just(Held::Nothing),
        Just(Held::Abstains),
    ];
    prop_oneof![
        (num(), num(), vec(deltas(), 0..4), vec(slots(), 0..3)).prop_map(|(seq, counter, deltas, tombstones)| {
            Message::Batch(Batch { seq, counter, deltas, tombstones })
        }),
        (num(), num(), num(), vec(any::<u8>(), 0..9))
            .prop_map(|(seq, counter, view, codes)| Message::Answers(Answers { seq, counter, view, codes })),
        (num(), ids(), num(), flag()).prop_map(|(request, id, digest, access)| Message::ReadQuery(ReadQuery {
            request,
            id,
            digest,
            access
        })),
        (num(), num(), flag(), held).prop_map(|(request, view, current, held)| Message::ReadReply(ReadReply {
            request,
            view,
            current,
            held
        })),
    ]
}

fn upkeep() -> impl Strategy<Value = Message<'static>> {
    let item = (ids(), stamps(), num()).prop_map(|(id, revision, age_ms)| ExpireItem { id, revision, age_ms });
    prop_oneof![
        (num(), vec(item, 0..4)).prop_map(|(request, items)| Message::ExpireAsk(ExpireAsk { request, items })),
        (num(), vec(flag(), 0..9))
            .prop_map(|(request, nothing_later)| Message::ExpireVotes(ExpireVotes { request, nothing_later })),
        (num(), num(), vec((short(), num(), num()), 0..4)).prop_map(|(request, view, slots)| Message::Audit(Audit {
            request,
            view,
            slots
        })),
        (num(), flag(), vec(short(), 0..4), vec(short(), 0..4), flag(), vec((ids(), num()), 0..4)).prop_map(
            |(request, comparable, slots, tombstones, more, held)| Message::AuditDiffers(AuditDiffers {
                request,
                comparable,
                slots,
                tombstones,
                more,
                held
            })
        ),
        (vec(ids(), 0..4), vec(short(), 0..4)).prop_map(|(ids, tombstones)| Message::Want(Want { ids, tombstones })),
        (leaked_str(), leaked_bytes()).prop_map(|(addr, bytes)| Message::Gossip(Gossip { addr, bytes })),
        (num(), num(), any::<[u8; 16]>(), option::of(ids())).prop_map(|(request, rule, user, after)| {
            Message::UserQuery(UserQuery { request, rule, user: UserKey::from_bytes(user), after })
        }),
        (num(), num(), num(), flag(), vec(ids(), 0..4), flag()).prop_map(
            |(request, view, counter, current, ids, more)| Message::UserReply(UserReply {
                request,
                view,
                counter,
                current,
                ids,
                more
            })
        ),
        num().prop_map(|request| Message::FiguresQuery(FiguresQuery { request })),
        (num(), [num(), num(), num(), num(), num()], [num(), num(), num(), num(), num()]).prop_map(
            |(
                request,
                [primary, replica, ended, bytes, waiting],
                [commits, local_reads, remote_reads, cannot_tell, late_ms],
            )| {
                let figures = Figures {
                    primary,
                    replica,
                    ended,
                    bytes,
                    waiting,
                    commits,
                    local_reads,
                    remote_reads,
                    cannot_tell,
                    late_ms,
                };
                Message::FiguresReply(FiguresReply { request, figures })
            }
        ),
    ]
}

/// Every variant with whatever it can hold.
pub(crate) fn messages() -> impl Strategy<Value = Message<'static>> {
    prop_oneof![9 => links(), 4 => changes(), 8 => upkeep()]
}
