use proptest::prelude::*;

use super::*;
use crate::arbitrary::{attribute, content, copies, id, next_ids, session, stamp};
use crate::moment::Moment;

fn ended(successor: Option<Successor>, counter: u64) -> Invalidated {
    let since = Moment::START.plus_ms(counter);
    Invalidated { successor, stamp: stamp(counter, 1), retention_ms: 9, since }
}

fn renewed(number: u8) -> Option<Successor> {
    Some(Successor::Renewed(id(number)))
}

fn moved(number: u8) -> Option<Successor> {
    Some(Successor::Moved(id(number)))
}

fn merged(mut a: Record, b: &Record) -> Record {
    a.merge(b);
    a
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent([a, b, c] in copies::<3>()) {
        let ab = merged(a.clone(), &b);
        prop_assert_eq!(&merged(b.clone(), &a), &ab);
        prop_assert_eq!(merged(ab.clone(), &c), merged(a.clone(), &merged(b.clone(), &c)));
        prop_assert_eq!(&merged(ab.clone(), &a), &ab);
        prop_assert_eq!(&merged(ab.clone(), &ab), &ab);
        prop_assert_eq!(&merged(a.clone(), &a), &a);
        let ended = ab.session.invalidated().is_some();
        prop_assert!(ended || (ab.access >= a.access && ab.access >= b.access));
    }

    #[test]
    fn merging_a_session_alone_obeys_the_same_laws([a, b, c] in copies::<3>()) {
        let merged = |a: &Session, b: &Session| {
            let mut a = a.clone();
            a.merge(b);
            a
        };
        let (a, b, c) = (&a.session, &b.session, &c.session);
        prop_assert_eq!(merged(a, b), merged(b, a));
        prop_assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
        prop_assert_eq!(&merged(a, a), &**a);
    }

    #[test]
    fn merging_tells_whether_the_content_changed([a, b] in copies::<2>()) {
        let mut result = a.clone();
        let changed = result.merge(&b);
        let differs = content(&result.session) != content(&a.session) || result.session.expired() != a.session.expired();
        prop_assert_eq!(changed, differs);
    }

    #[test]
    fn digests_are_equal_exactly_if_the_contents_are([a, b] in copies::<2>()) {
        prop_assert_eq!(a.session.digest() == b.session.digest(), content(&a.session) == content(&b.session));
    }

    #[test]
    fn the_digest_kept_up_to_date_is_the_one_from_scratch([a, b] in copies::<2>()) {
        for record in [&a, &b, &merged(a.clone(), &b)] {
            prop_assert_eq!(record.session.digest(), record.session.computed_digest());
        }
    }

    #[test]
    fn what_was_ended_stays_ended([mut a, b] in copies::<2>(), successor in next_ids()) {
        let mut session = (*a.session).clone();
        session.invalidate(ended(successor, 1_000));
        a.session = session.into();
        for merged in [merged(a.clone(), &b), merged(b.clone(), &a)] {
            prop_assert!(merged.session.invalidated().is_some() && merged.status() != Status::Live);
            prop_assert_eq!(merged.session.attributes(), &[]);
        }
    }

    #[test]
    fn of_two_ends_the_smaller_wins_and_the_earlier_counts(a in ends(), b in ends()) {
        let mut session = Session::tombstone(a);
        session.invalidate(b);
        let winner = session.invalidated().unwrap();
        prop_assert_eq!(winner.successor, a.successor.min(b.successor));
        prop_assert_eq!(winner.since, a.since.min(b.since));
    }
}

fn ends() -> impl Strategy<Value = Invalidated> {
    (next_ids(), 0..5_u64).prop_map(|(successor, counter)| ended(successor, counter))
}

#[test]
fn a_late_save_does_not_revive_an_ended_session() {
    let mut session = session();
    session.put(attribute("user", Some(b"ada"), stamp(2, 1)));
    assert!(session.invalidate(ended(None, 3)));
    let tombstone = session.clone();
    assert!(!session.put(attribute("user", Some(b"ada"), stamp(99, 1))));
    assert!(!session.set_idle_limit(IdleLimit { stamp: stamp(99, 1), ms: 1 }));
    assert!(!session.set_created(0));
    assert!(!session.expire(Expired { revision: stamp(99, 1), access: Moment::START }));
    assert_eq!(session, tombstone);
}

#[test]
fn of_parallel_renewals_the_smaller_successor_wins_and_a_logout_beats_both() {
    let copies = [ended(renewed(2), 5), ended(renewed(1), 9), ended(None, 7)].map(Session::tombstone);
    let mut session = copies[0].clone();
    assert!(session.merge(&copies[1]));
    assert_eq!(session.invalidated().unwrap().successor, renewed(1));
    assert!(session.merge(&copies[2]));
    assert_eq!(session.invalidated().unwrap().successor, None);
    assert!(!session.merge(&copies[1]));
    assert_eq!(session.invalidated().unwrap(), &Invalidated { since: Moment::START.plus_ms(5), ..ended(None, 7) });
}

#[test]
fn a_renewal_beats_a_move_and_of_two_moves_the_smaller_successor_wins() {
    let copies = [ended(moved(2), 5), ended(moved(1), 9), ended(renewed(3), 8), ended(None, 7)].map(Session::tombstone);
    let mut session = copies[0].clone();
    let mut winners = Vec::new();
    for copy in &copies[1..] {
        assert!(session.merge(copy));
        assert!(!session.merge(&copies[0]));
        winners.push(session.invalidated().unwrap().successor);
    }
    assert_eq!(winners, [moved(1), renewed(3), None]);
}

#[test]
fn only_a_moved_id_is_readable_and_only_for_a_while() {
    let at = |ms| Moment::START.plus_ms(10 + ms);
    assert_eq!(ended(moved(1), 10).readable_at(at(0)), Some(id(1)));
    assert_eq!(ended(moved(1), 10).readable_at(at(MOVED_READABLE_MS)), Some(id(1)));
    assert_eq!(ended(moved(1), 10).readable_at(at(MOVED_READABLE_MS + 1)), None);
    assert_eq!(ended(renewed(1), 10).readable_at(at(0)), None);
    assert_eq!(ended(None, 10).readable_at(at(0)), None);
}

#[test]
fn an_expiry_counts_only_against_what_it_knew() {
    let tolerance = access_tolerance_ms(60_000);
    let mut record = Record::new(session(), Moment::START);
    assert_eq!(record.status(), Status::Live);
    Arc::make_mut(&mut record.session).expire(Expired { revision: stamp(1, 0), access: Moment::START });
    assert_eq!(record.status(), Status::Expired);

    let accessed = |ms| Record { access: Moment::START.plus_ms(ms), ..record.clone() };
    assert_eq!(accessed(tolerance).status(), Status::Expired);
    assert_eq!(accessed(tolerance + 1).status(), Status::Live);

    let mut written = Record::new(session(), Moment::START);
    Arc::make_mut(&mut written.session).put(attribute("cart", Some(b"tea"), stamp(2, 1)));
    assert_eq!(merged(record.clone(), &written).status(), Status::Live);
    assert_eq!(merged(written, &record).status(), Status::Live);
}

#[test]
fn a_later_expiry_overrules_a_revival() {
    let mut session = session();
    let mark = |counter, ms| Expired { revision: stamp(counter, 0), access: Moment::START.plus_ms(ms) };
    assert!(session.expire(mark(1, 0)));
    session.put(attribute("cart", None, stamp(2, 0)));
    assert_eq!(Record::new(session.clone(), Moment::START).status(), Status::Live);
    assert!(session.expire(mark(2, 0)));
    assert!(!session.expire(mark(1, 5)));
    assert_eq!(Record::new(session, Moment::START).status(), Status::Expired);
}

#[test]
fn a_removed_attribute_stays_as_its_stamp() {
    let mut session = session();
    session.put(attribute("cart", Some(b"tea"), stamp(2, 1)));
    assert!(session.put(attribute("cart", None, stamp(3, 1))));
    assert_eq!((session.get("cart"), session.live().count(), session.bytes()), (None, 0, 4));
    assert_eq!(session.attributes(), [attribute("cart", None, stamp(3, 1))]);
    assert!(!session.put(attribute("cart", Some(b"tea"), stamp(2, 9))));
    assert_eq!(session.get("cart"), None);
    assert_eq!(session.revision(), stamp(3, 1));
    assert!(session.put(attribute("cart", Some(b"milk"), stamp(4, 1))));
    assert_eq!((session.get("cart").unwrap().as_ref(), session.bytes()), (&b"milk"[..], 8));
}

#[test]
fn of_writes_with_one_counter_the_larger_node_wins_everywhere() {
    let write = |node| {
        let mut session = session();
        session.put(attribute("cart", Some(&[node]), stamp(2, u64::from(node))));
        session
    };
    let (mut a, mut b) = (write(1), write(2));
    assert!(a.merge(&write(2)));
    assert!(!b.merge(&write(1)));
    assert_eq!(a.get("cart").unwrap().as_ref(), [2]);
    assert_eq!(a, b);
}

#[test]
fn everything_but_the_moments_of_an_end_is_in_the_digest() {
    let with = |change: &dyn Fn(&mut Session)| {
        let mut session = session();
        change(&mut session);
        session.digest()
    };
    let digests = [
        with(&|_| ()),
        with(&|s| assert!(s.put(attribute("a", Some(b"b"), stamp(2, 1))))),
        with(&|s| assert!(s.put(attribute("a", Some(b"c"), stamp(2, 1))))),
        with(&|s| assert!(s.put(attribute("a", Some(b"b"), stamp(3, 1))))),
        with(&|s| assert!(s.put(attribute("a", Some(b"b"), stamp(2, 2))))),
        with(&|s| assert!(s.put(attribute("a", Some(b""), stamp(2, 1))))),
        with(&|s| assert!(s.put(attribute("a", None, stamp(2, 1))))),
        with(&|s| assert!(s.put(attribute("ab", Some(b""), stamp(2, 1))))),
        with(&|s| assert!(s.set_idle_limit(IdleLimit { stamp: stamp(2, 0), ms: 60_000 }))),
        with(&|s| assert!(s.set_idle_limit(IdleLimit { stamp: stamp(2, 0), ms: 60_001 }))),
        with(&|s| assert!(s.set_created(999))),
        with(&|s| assert!(s.expire(Expired { revision: stamp(1, 0), access: Moment::START }))),
        with(&|s| assert!(s.expire(Expired { revision: stamp(2, 0), access: Moment::START }))),
        with(&|s| assert!(s.invalidate(ended(None, 3)))),
        with(&|s| assert!(s.invalidate(ended(None, 4)))),
        with(&|s| assert!(s.invalidate(ended(renewed(1), 3)))),
        with(&|s| assert!(s.invalidate(ended(moved(1), 3)))),
        with(&|s| assert!(s.invalidate(Invalidated { retention_ms: 8, ..ended(None, 3) }))),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "number {at} has the digest of an earlier one");
    }
    let later = Expired { revision: stamp(1, 0), access: Moment::START.plus_ms(1) };
    assert_eq!(with(&|s| assert!(s.expire(later))), digests[11]);
    let earlier = Invalidated { since: Moment::START, ..ended(None, 3) };
    assert_eq!(with(&|s| assert!(s.invalidate(earlier))), digests[13]);
}

/// If one of these changes, it is another version of the protocol.
#[test]
fn the_digests_are_part_of_the_protocol() {
    let mut session = session();
    assert_eq!(session.digest(), 0xf5a2_3c57_b8d7_ecf9, "empty");
    session.put(attribute("user", Some(b"ada"), stamp(2, 7)));
    session.put(attribute("cart", None, stamp(3, 7)));
    assert_eq!(session.digest(), 0xee8c_725c_76cf_e633, "attributes");
    session.expire(Expired { revision: stamp(3, 7), access: Moment::START });
    assert_eq!(session.digest(), 0xd17d_2d7d_8586_29ee, "expired");
    assert_eq!(Session::tombstone(ended(None, 4)).digest(), 0xfe35_c347_b8bf_7cdb, "logged out");
    assert_eq!(Session::tombstone(ended(renewed(1), 4)).digest(), 0x050b_8a15_f8e8_0325, "renewed");
    assert_eq!(Session::tombstone(ended(moved(1), 4)).digest(), 0xa6bc_66ee_022c_747d, "moved");
}

/// A session in which keys were written and removed, each with its own stamp.
fn with_removed(keys: impl Iterator<Item = u64>) -> Session {
    let mut session = session();
    session.put(attribute("user", Some(b"ada"), stamp(1, 1)));
    for number in keys {
        session.put(attribute(&format!("csrf-{number}"), None, stamp(10 + number, 1)));
    }
    session
}

#[test]
fn a_session_remembers_the_latest_removals_and_copies_that_merge_the_same_ones() {
    let many = REMOVED_MAX as u64 + 100;
    let session = with_removed(0..many);
    assert_eq!(session.attributes().len(), REMOVED_MAX + 1);
    assert_eq!(session.digest(), session.computed_digest());
    assert!(session.get("user").is_some() && session.attribute("csrf-99").is_none());
    assert!(session.attribute("csrf-100").is_some());
    let copies = [with_removed((0..many).rev()), with_removed(0..many - 50), with_removed(40..many)];
    for mut copy in copies {
        copy.merge(&session);
        assert_eq!((copy.digest(), copy.attributes().len()), (session.digest(), REMOVED_MAX + 1));
    }
    let mut late = session.clone();
    assert!(!late.put(attribute("csrf-0", None, stamp(10, 1))), "it has seen later removals");
    assert_eq!(late, session);
}

#[test]
fn long_keys_that_were_removed_are_bounded_by_their_bytes() {
    let long = "k".repeat(1 << 20);
    let mut session = session();
    for number in 0..100 {
        session.put(attribute(&format!("{long}{number}"), None, stamp(10 + number, 1)));
    }
    assert!((32..=33).contains(&session.attributes().len()), "{}", session.attributes().len());
    assert_eq!(session.digest(), session.computed_digest());
}
