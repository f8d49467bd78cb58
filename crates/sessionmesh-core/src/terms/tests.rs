use proptest::prelude::*;

use super::*;
use crate::placement::view::{Member, MemberState};

fn terms(mode: u8) -> Terms {
    let mut numbers = [500; TERMS.len()];
    numbers[0] = u64::from(mode);
    Terms::of(numbers)
}

fn member(name: &str, terms: Terms) -> Member {
    Member {
        name: name.into(),
        incarnation: 1,
        addr: "127.0.0.1:4000".parse().unwrap(),
        zone: "".into(),
        state: MemberState::Ready,
        terms,
    }
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let numbers: Vec<_> = TERMS.iter().map(|term| 0..=term.most).collect();
    numbers.prop_map(|numbers| Terms::of(numbers.try_into().unwrap()))
}

#[test]
fn all_members_are_more_than_any_number_of_backups() {
    let in_order = [0, 1, 2, 8, 254].map(|backups| Mode::PrimaryBackup { backups });
    assert!(in_order.is_sorted());
    assert!(in_order.iter().all(|mode| *mode < Mode::AllToAll && Mode::from_number(mode.number()) == *mode));
    assert_eq!(Mode::from_number(Mode::AllToAll.number()), Mode::AllToAll);
}

#[test]
fn the_text_is_part_of_the_protocol() {
    let said = Terms {
        mode: Mode::PrimaryBackup { backups: 2 },
        commit_deadline_ms: 500,
        gossip_interval_ms: 200,
        max_inactive_ms: 1_800_000,
        tombstone_retention_ms: 86_400_000,
        max_tombstones: 10_485_760,
        max_attributes: 256,
        max_key_bytes: 257,
        max_value_bytes: 1_048_576,
        max_session_bytes: 4_194_304,
        max_sessions_per_user: 3,
        user_rule: 0xffff_ffff_ffff_ffff,
    };
    assert_eq!(said.to_string(), "2 500 200 1800000 86400000 10485760 256 257 1048576 4194304 3 18446744073709551615");
    let later = format!("{said} something new");
    assert_eq!(later.parse(), Ok(said));
}

#[test]
fn text_that_says_too_little_or_nonsense_says_nothing() {
    for text in ["", "1", "1 2 3 4 5 6 7 8 9 10 11", "-1 2 3 4 5 6 7 8 9 10 11 12", "a b c d e f g h i j k l"] {
        assert_eq!(text.parse::<Terms>(), Err(InvalidTerms), "{text}");
    }
    let huge = [u64::MAX.to_string().as_str()].repeat(TERMS.len()).join(" ").parse::<Terms>().unwrap();
    assert_eq!((huge.mode, huge.max_session_bytes, huge.commit_deadline_ms), (Mode::AllToAll, 16 << 20, YEAR_MS));
}

#[test]
fn differences_are_told_by_value_and_name() {
    let members = |modes: [u8; 3]| ["a", "b", "c"].into_iter().zip(modes).map(|(name, mode)| member(name, terms(mode)));
    let view = |modes| View::new(members(modes));
    assert_eq!(Difference::all(&view([1, 1, 1])), []);
    let [found] = &Difference::all(&view([1, 255, 1]))[..] else { panic!("one difference") };
    assert_eq!(
        found.to_string(),
        "`mode` is primary-backup with backups = 1 on a, c; all-to-all on b; the larger number of copies is in force until \
         it is the same everywhere"
    );
    assert!(found.has_values_of(&Difference::all(&view([255, 1, 255]))[0]));
    assert!(!found.has_values_of(&Difference::all(&view([2, 1, 1]))[0]));
}

#[test]
fn a_rule_that_not_all_have_is_none() {
    let with_rule = |user_rule| Terms { user_rule, ..terms(1) };
    assert_eq!(with_rule(7).largest(with_rule(7)).user_rule, 7);
    assert_eq!(with_rule(7).largest(with_rule(0)).user_rule, 0);
    assert_eq!(with_rule(7).largest(with_rule(8)).user_rule, 0);
}

proptest! {
    #[test]
    fn what_is_said_is_heard(terms in any_terms()) {
        prop_assert_eq!(terms.to_string().parse(), Ok(terms));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9 a-z-]{0,80}") {
        let _ = text.parse::<Terms>();
    }

    #[test]
    fn what_is_in_force_is_the_largest_of_each_in_whatever_order(all in prop::collection::vec(any_terms(), 1..5)) {
        let view = View::new(all.iter().enumerate().map(|(at, terms)| member(&at.to_string(), *terms)));
        let forward = all.iter().copied().reduce(Terms::largest);
        let backward = all.iter().copied().rev().reduce(Terms::largest);
        prop_assert_eq!(Some(*view.in_force()), forward);
        prop_assert_eq!(forward, backward);
        let forward = forward.unwrap();
        let most = |of: fn(&Terms) -> u64| all.iter().map(of).max().unwrap();
        prop_assert_eq!(forward.tombstone_retention_ms, most(|terms| terms.tombstone_retention_ms));
        prop_assert_eq!(forward.max_session_bytes, most(|terms| terms.max_session_bytes));
        prop_assert_eq!(forward.mode, all.iter().map(|terms| terms.mode).max().unwrap());
    }
}
