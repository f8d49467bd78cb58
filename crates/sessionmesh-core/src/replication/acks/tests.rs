use super::*;
use crate::arbitrary::id;

const VIEW: ViewHash = ViewHash(1);
const OTHER_VIEW: ViewHash = ViewHash(2);

fn targets(owners: &[u64], stand_ins: &[u64]) -> Targets {
    let nodes = |hashes: &[u64]| hashes.iter().copied().map(NodeHash).collect();
    Targets { owners: nodes(owners), stand_ins: nodes(stand_ins), also_awaited: Vec::new(), view: VIEW }
}

/// One commit with Lamport counter 10 on session 1, whose reply is its own name.
fn waiting(ack: Ack) -> (Acks<&'static str>, u64) {
    let mut acks = Acks::default();
    let ticket = acks.wait(id(1), 10, ack, "commit");
    (acks, ticket)
}

/// What `node` answers to a send at counter `sent` ends.
fn hear(
    acks: &mut Acks<&'static str>,
    node: u64,
    sent: u64,
    holds: Holds,
    targets: &Targets,
) -> Vec<(&'static str, usize)> {
    let done = acks.on_ack(id(1), NodeHash(node), sent, holds, targets);
    done.into_iter().map(|done| (done.reply, done.copies)).collect()
}

#[test]
fn owners_waits_for_every_owner() {
    let targets = targets(&[1, 2], &[]);
    let (mut acks, _) = waiting(Ack::Owners);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets), []);
    assert_eq!(hear(&mut acks, 1, 11, Holds::Kept(VIEW), &targets), [], "one node counts once");
    assert_eq!(hear(&mut acks, 3, 10, Holds::Kept(VIEW), &targets), [], "not an owner");
    let done = hear(&mut acks, 2, 10, Holds::Kept(VIEW), &targets);
    assert_eq!(done, [("commit", 2)], "who is no owner does not go on to hold it");
    assert!(acks.is_empty());
}

#[test]
fn an_owner_counts_only_under_the_same_view() {
    let targets = targets(&[1], &[]);
    let (mut acks, _) = waiting(Ack::Owners);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(OTHER_VIEW), &targets), []);
    assert_eq!(hear(&mut acks, 1, 10, Holds::InTransit, &targets), []);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets), [("commit", 1)]);
}

#[test]
fn an_owner_under_an_earlier_view_is_waited_for_until_it_cannot_answer_reads_any_more() {
    let replaced = Targets { also_awaited: vec![NodeHash(2)], ..targets(&[1], &[]) };
    let (mut acks, _) = waiting(Ack::Owners);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &replaced), []);
    assert_eq!(hear(&mut acks, 2, 10, Holds::Kept(OTHER_VIEW), &replaced), [("commit", 1)]);
    let (mut acks, _) = waiting(Ack::Owners);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &replaced), []);
    assert_eq!(acks.review(id(1), &targets(&[1], &[])).len(), 1, "its lease has run out");
}

#[test]
fn a_stand_in_may_hold_it_under_any_view_or_only_to_pass_it_on() {
    for holds in [Holds::InTransit, Holds::Kept(OTHER_VIEW), Holds::Kept(VIEW)] {
        let targets = targets(&[1], &[2]);
        let (mut acks, _) = waiting(Ack::Owners);
        assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets), []);
        assert_eq!(hear(&mut acks, 2, 10, holds, &targets), [("commit", 2)]);
    }
}

#[test]
fn copies_counts_owners_and_stand_ins_however_they_hold_it() {
    let targets = targets(&[1, 2], &[3]);
    let (mut acks, _) = waiting(Ack::Copies(2));
    assert_eq!(hear(&mut acks, 4, 10, Holds::Kept(VIEW), &targets), [], "neither owner nor stand-in");
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(OTHER_VIEW), &targets), []);
    assert_eq!(hear(&mut acks, 3, 10, Holds::InTransit, &targets), [("commit", 2)]);
}

#[test]
fn copies_is_content_with_all_there_are() {
    let two = targets(&[1], &[2]);
    let (mut acks, _) = waiting(Ack::Copies(5));
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &two), []);
    assert_eq!(hear(&mut acks, 2, 10, Holds::InTransit, &two), [("commit", 2)]);
}

#[test]
fn nobody_is_waited_for_when_there_is_nobody_or_nobody_is_asked_for() {
    let alone = targets(&[], &[]);
    for (ack, targets) in [(Ack::Owners, &alone), (Ack::Copies(1), &alone), (Ack::Local, &targets(&[1], &[]))] {
        let (mut acks, _) = waiting(ack);
        assert_eq!(acks.review(id(1), targets).len(), 1, "{ack:?}");
    }
}

#[test]
fn a_send_from_before_the_commit_does_not_count() {
    let targets = targets(&[1], &[]);
    for ack in [Ack::Owners, Ack::Copies(1)] {
        let (mut acks, _) = waiting(ack);
        acks.wait(id(1), 12, ack, "later commit");
        assert_eq!(hear(&mut acks, 1, 9, Holds::Kept(VIEW), &targets), []);
        assert_eq!(hear(&mut acks, 1, 11, Holds::Kept(VIEW), &targets), [("commit", 1)]);
        assert_eq!(hear(&mut acks, 1, 12, Holds::Kept(VIEW), &targets), [("later commit", 1)]);
    }
}

#[test]
fn a_change_of_targets_releases_or_prolongs_a_wait() {
    let (mut acks, _) = waiting(Ack::Owners);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets(&[1, 2], &[])), []);
    assert!(acks.review(id(1), &targets(&[1, 3], &[])).is_empty(), "a joiner is waited for");
    assert!(acks.review(id(2), &targets(&[1], &[])).is_empty(), "another session");
    let done = acks.review(id(1), &targets(&[1], &[]));
    assert_eq!((done.len(), done[0].copies), (1, 1));
}

#[test]
fn what_was_kept_under_the_view_before_is_asked_again() {
    let (mut acks, _) = waiting(Ack::Owners);
    let both = Targets { view: OTHER_VIEW, ..targets(&[1, 2], &[]) };
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets(&[1, 2], &[])), []);
    assert_eq!(hear(&mut acks, 2, 10, Holds::Kept(OTHER_VIEW), &both), []);
    assert_eq!(hear(&mut acks, 1, 10, Holds::Kept(OTHER_VIEW), &both), [("commit", 2)]);
}

#[test]
fn giving_up_tells_how_many_copies_there_are_and_ends_one_wait_only() {
    let targets = targets(&[1, 2, 3], &[]);
    let (mut acks, ticket) = waiting(Ack::Owners);
    let other = acks.wait(id(1), 10, Ack::Owners, "other");
    hear(&mut acks, 1, 10, Holds::Kept(VIEW), &targets);
    hear(&mut acks, 2, 10, Holds::InTransit, &targets);
    assert_eq!(acks.give_up(id(1), ticket, &targets), Some(2));
    assert_eq!(acks.give_up(id(1), ticket, &targets), None);
    assert_eq!((acks.len(), acks.waits_for(id(1))), (1, true));
    assert_eq!(hear(&mut acks, 2, 10, Holds::Kept(VIEW), &targets), []);
    assert_eq!(hear(&mut acks, 3, 10, Holds::Kept(VIEW), &targets), [("other", 3)]);
    assert_eq!(acks.give_up(id(1), other, &targets), None);
}

#[test]
fn the_sessions_that_are_waited_for_are_listed_once_in_order() {
    let mut acks = Acks::default();
    for number in [2, 1, 2] {
        acks.wait(id(number), 10, Ack::Owners, ());
    }
    assert_eq!(acks.sessions(), [id(1), id(2)]);
    assert!(acks.waits_for(id(2)) && !acks.waits_for(id(3)));
}

#[test]
fn who_may_still_answer_from_its_own_copy_is_waited_for_though_nobody_else_is_there() {
    let nobody = Targets { owners: vec![], stand_ins: vec![], also_awaited: vec![], view: VIEW };
    let displaced = Targets { also_awaited: vec![NodeHash(3)], ..nobody.clone() };
    assert!(nobody.is_nobody(Ack::Owners) && !displaced.is_nobody(Ack::Owners));
    assert!(displaced.is_nobody(Ack::Copies(1)), "it is no copy that counts");
    assert!(!Targets { stand_ins: vec![NodeHash(2)], ..nobody }.is_nobody(Ack::Copies(1)));
    assert_eq!([Ack::Local, Ack::Copies(3), Ack::Owners].map(Ack::copies_wanted), [0, 3, 1]);
}
