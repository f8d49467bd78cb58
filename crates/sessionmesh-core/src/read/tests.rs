use proptest::prelude::*;

use super::*;
use crate::arbitrary::{attribute, id, session, stamp};
use crate::replication::delta::Delta;
use crate::stamp::Stamp;

const VIEW: ViewHash = ViewHash(7);
/// The limit of a session is a minute.
const NOW: Moment = Moment::START.plus_ms(1_000_000);

/// A session that was accessed so long ago.
fn record(idle_ms: u64) -> Record {
    let mut session = session();
    session.put(attribute("n", Some(b"1"), stamp(2, 0)));
    Record::new(session, NOW.minus_ms(idle_ms))
}

fn stranger() -> Asker {
    Asker { view: VIEW, is_owner: false, is_current: false, held: None, is_awake: true, is_blind: false }
}

fn told(current: bool, held: Held<'_>) -> ReadReply<'_> {
    ReadReply { request: 1, view: VIEW.0, current, held }
}

fn whole(record: &Record) -> Held<'_> {
    Held::This(Delta::since(id(1), record, Stamp::ZERO, NOW))
}

const SILENT: Silence = Silence { is_silent: true, is_cut_off: false };
const CUT_OFF: Silence = Silence { is_silent: true, is_cut_off: true };

/// What a stranger concludes that asked two owners, and heard these replies; `None` is silence.
fn asked(replies: [Option<ReadReply<'_>>; 2]) -> Verdict {
    let mut round = ReadRound::new(stranger());
    for reply in replies {
        match reply {
            Some(told) => round.on_reply(&told, true, NOW, NOW),
            None => round.on_no_reply(true, true),
        }
    }
    round.verdict(NOW)
}

fn is_unclear(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unclear(_))
}

#[test]
fn none_is_said_only_if_every_owner_has_missed_nothing_and_holds_nothing() {
    let nothing = |current| Some(told(current, Held::Nothing));
    assert!(matches!(asked([nothing(true), nothing(true)]), Verdict::NoSuchSession { unknown_to_all: true }));
    assert!(is_unclear(&asked([nothing(true), nothing(false)])), "one may have missed it");
    assert!(is_unclear(&asked([nothing(true), None])));
    assert!(is_unclear(&asked([nothing(true), Some(told(false, Held::Abstains))])));
    let elsewhere = ReadReply { view: VIEW.0 + 1, ..told(true, Held::Nothing) };
    assert!(is_unclear(&asked([nothing(true), Some(elsewhere)])), "by its view others are the owners");
}

#[test]
fn a_reply_of_one_that_has_missed_nothing_decides() {
    let held = record(1_000);
    let mut round = ReadRound::new(stranger());
    assert!(!round.is_decided(NOW));
    round.on_reply(&told(true, whole(&held)), true, NOW, NOW);
    assert!(round.is_decided(NOW));
    assert!(matches!(round.verdict(NOW), Verdict::Live(_)));
}

#[test]
fn what_came_to_this_node_while_it_asked_counts() {
    let owner = |held| ReadRound::new(Asker { is_owner: true, held, ..stranger() });
    let mut asked = owner(Some(Record::new(session(), NOW.minus_ms(1_000))));
    asked.on_unreachable(true, SILENT);
    asked.on_own_copy(record(500), true);
    match asked.verdict(NOW) {
        Verdict::Live(found) => assert_eq!(found.session.digest(), record(500).session.digest()),
        other => panic!("{other:?}"),
    }
    // And a session that nobody held when the question was asked.
    let mut asked = owner(None);
    asked.on_reply(&told(true, Held::Nothing), true, NOW, NOW);
    asked.on_own_copy(record(500), true);
    assert!(matches!(asked.verdict(NOW), Verdict::Live(_)));
}

#[test]
fn past_silent_owners_only_the_copy_of_an_owner_is_served() {
    let held = record(1_000);
    let one_silent = |is_owner| {
        let mut round = ReadRound::new(stranger());
        round.on_unreachable(true, SILENT);
        round.on_reply(&told(false, whole(&held)), is_owner, NOW, NOW);
        round.verdict(NOW)
    };
    assert!(matches!(one_silent(true), Verdict::Live(_)));
    assert!(is_unclear(&one_silent(false)), "what others hold may be a write upon an old copy");
    let mut waiting = ReadRound::new(stranger());
    waiting.on_unreachable(true, Silence { is_silent: false, is_cut_off: false });
    waiting.on_reply(&told(false, whole(&held)), true, NOW, NOW);
    assert!(is_unclear(&waiting.verdict(NOW)), "somebody may still know better");
}

#[test]
fn past_its_limit_a_session_has_ended_only_if_all_owners_say_so() {
    let (over, used) = (record(61_000), record(1_000));
    let says = |held| Some(told(true, held));
    let mut round = ReadRound::new(stranger());
    round.on_reply(&told(true, whole(&over)), true, NOW, NOW);
    assert!(!round.is_decided(NOW), "another owner may know of a later access");
    assert!(matches!(
        asked([says(whole(&over)), says(whole(&over))]),
        Verdict::NoSuchSession { unknown_to_all: false }
    ));
    assert!(is_unclear(&asked([says(whole(&over)), None])));
    assert!(matches!(asked([says(whole(&over)), says(whole(&used))]), Verdict::Live(_)));
    assert!(matches!(asked([says(whole(&used)), says(Held::Same { age_ms: 59_000 })]), Verdict::Live(_)));
}

#[test]
fn what_an_owner_that_is_cut_off_might_know_is_said_at_once_not_to_be_known() {
    let mut round = ReadRound::new(stranger());
    round.on_reply(&told(true, Held::Nothing), true, NOW, NOW);
    round.on_unreachable(true, CUT_OFF);
    assert!(matches!(round.verdict(NOW), Verdict::Unclear(Unclear { at_once: true, lasting: false, .. })));
}

#[test]
fn where_all_that_had_copies_may_have_vanished_none_is_not_said() {
    let mut round = ReadRound::new(Asker { is_blind: true, ..stranger() });
    round.on_reply(&told(true, Held::Nothing), true, NOW, NOW);
    assert!(matches!(round.verdict(NOW), Verdict::Unclear(Unclear { at_once: true, lasting: true, .. })));
}

#[test]
fn an_owner_that_has_missed_nothing_and_holds_nothing_still_hears_the_others() {
    let owner = |is_current| Asker { is_owner: true, is_current, ..stranger() };
    let mut round = ReadRound::new(owner(true));
    round.on_reply(&told(true, Held::Nothing), true, NOW, NOW);
    assert!(matches!(round.verdict(NOW), Verdict::NoSuchSession { .. }));
    let mut round = ReadRound::new(owner(false));
    round.on_reply(&told(true, Held::Nothing), true, NOW, NOW);
    assert!(is_unclear(&round.verdict(NOW)));
}

proptest! {
    #[test]
    fn none_is_never_said_after_any_reply_with_a_session(
        replies in prop::collection::vec((0..5_u8, any::<bool>(), any::<bool>(), any::<bool>()), 1..6),
        is_owner: bool, is_current: bool, is_awake: bool, is_blind: bool,
    ) {
        let held = record(1_000);
        let mut round = ReadRound::new(Asker { is_owner, is_current, is_awake, is_blind, ..stranger() });
        let mut told_of = false;
        for (kind, owner, current, agrees) in replies {
            let view = if agrees { VIEW.0 } else { VIEW.0 + 1 };
            let reply = |held| ReadReply { view, ..told(current, held) };
            match kind {
                0 => round.on_reply(&reply(Held::Nothing), owner, NOW, NOW),
                1 => round.on_reply(&reply(Held::Abstains), owner, NOW, NOW),
                2 => round.on_no_reply(owner, current),
                3 => round.on_unreachable(owner, Silence { is_silent: current, is_cut_off: current && agrees }),
                _ => {
                    told_of = true;
                    round.on_reply(&reply(whole(&held)), owner, NOW, NOW);
                }
            }
        }
        let verdict = round.verdict(NOW);
        let is_none = matches!(verdict, Verdict::NoSuchSession { .. } | Verdict::Ended(_));
        prop_assert!(!(told_of && is_none), "{:?}", verdict);
        prop_assert!(told_of || !matches!(verdict, Verdict::Live(_)), "out of nothing");
    }
}
