use super::*;
use crate::arbitrary::member;
use crate::membership::gossiped::barrier;
use crate::membership::lost::LostMembers;
use crate::terms::Terms;
use crate::wire::version::Versions;

const NOW: Moment = Moment::START.plus_ms(1_000_000);
const RETENTION_MS: u64 = 10_000;

fn terms() -> Terms {
    Terms { tombstone_retention_ms: RETENTION_MS, gossip_interval_ms: 200, ..member("any", MemberState::Ready).terms }
}

fn with_terms(name: &str, state: MemberState) -> Member {
    Member { terms: terms(), ..member(name, state) }
}

/// What node `m` knows, and the view of itself alone.
fn alone() -> (Members, View) {
    let me = with_terms("m", MemberState::Joining);
    (Members::new(me.clone(), Versions::OURS), View::new([me]))
}

fn info(name: &str, state: GossipState) -> MemberInfo {
    let Member { name, incarnation, addr, zone, terms, .. } = with_terms(name, MemberState::Ready);
    MemberInfo { name, incarnation, addr, zone, state, terms, versions: Versions::OURS, alive: true, heartbeat: 1 }
}

/// Notes what gossip says.
fn hear(members: &mut Members, gossip: &[MemberInfo], before: &View, now: Moment) -> Vec<NodeHash> {
    members.on_gossip(gossip, |node| before.members().iter().any(|member| member.node() == node), now)
}

/// As a node does whenever gossip has news. No link to anybody is silent.
fn review(members: &mut Members, gossip: &[MemberInfo], before: &View, now: Moment) -> Review {
    hear(members, gossip, before, now);
    members.review(gossip, before, |_| Some(false), now)
}

fn names(view: &View) -> Vec<&str> {
    view.members().iter().map(|member| &*member.name).collect()
}

#[test]
fn a_view_has_only_nodes_that_can_talk_with_each_other_and_who_joins_must_fit_all() {
    let speaks =
        |name, state, oldest, newest| MemberInfo { versions: Versions::new(oldest, newest), ..info(name, state) };
    let seen_by = |versions, gossip: &[MemberInfo]| {
        let me = with_terms("m", MemberState::Ready);
        let mut members = Members::new(me.clone(), versions);
        let view = review(&mut members, gossip, &View::new([me]), NOW).view;
        let strange: Vec<String> = members.not_understood(gossip).map(|info| info.name.to_string()).collect();
        (names(&view).join(" "), strange.join(" "))
    };
    let both = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    let (ready, joining) = (GossipState::Ready, GossipState::Joining);
    // Given a node of 4 that is ready, one that joins with 4 and 5, and one that joins with 5 and 6
    let gossip = [speaks("a", ready, 4, 4), speaks("b", joining, 4, 5), speaks("c", joining, 5, 6)];
    // then a node that would understand all leaves the last one out, too, so that all have one view.
    assert_eq!(seen_by(Versions::new(4, 5), &gossip), both("a b m", ""));
    assert_eq!(seen_by(Versions::new(4, 4), &gossip), both("a b m", "c"));
    // When the first one is gone, it comes in.
    assert_eq!(seen_by(Versions::new(4, 5), &gossip[1..]), both("b c m", ""));
    // A node that is another cluster by now keeps nobody from joining.
    let gossip = [speaks("b", joining, 4, 5), speaks("x", ready, 7, 8)];
    assert_eq!(seen_by(Versions::new(4, 4), &gossip), both("b m", "x"));
    // Two that were ready before they heard of each other leave only each other out.
    let gossip = [speaks("a", ready, 4, 4), speaks("c", ready, 5, 6)];
    assert_eq!(seen_by(Versions::new(4, 5), &gossip), both("a c m", ""));
    assert_eq!(seen_by(Versions::new(5, 6), &gossip), both("c m", "a"));
}

#[test]
fn who_finds_members_that_it_cannot_talk_with_gives_way_to_them_unless_they_are_another_cluster() {
    let speaks =
        |name, state, oldest, newest| MemberInfo { versions: Versions::new(oldest, newest), ..info(name, state) };
    let barred = |gossip: &[MemberInfo]| barrier(Versions::new(5, 6), "m", 2, gossip).map(|info| info.name.to_string());
    let by = |name: &str| Some(name.to_owned());
    let ready = GossipState::Ready;
    assert_eq!(barred(&[speaks("a", ready, 4, 4)]), by("a"));
    assert_eq!(
        barred(&[speaks("a", ready, 4, 4), speaks("b", ready, 4, 5)]),
        by("a"),
        "it is with one that is understood"
    );
    assert_eq!(barred(&[speaks("a", ready, 7, 8), speaks("b", ready, 4, 6)]), None, "it is another cluster");
    assert_eq!(barred(&[speaks("b", ready, 4, 5)]), None);
    assert_eq!(barred(&[speaks("a", GossipState::Leaving, 4, 4)]), by("a"));
    for state in [GossipState::Starting, GossipState::Left] {
        assert_eq!(barred(&[speaks("a", state, 4, 4)]), None, "{state:?}");
    }
    assert_eq!(barred(&[speaks("m", ready, 4, 4)]), None, "its own life before");
    let gone = MemberInfo { alive: false, ..speaks("a", ready, 4, 4) };
    assert_eq!(barred(&[gone]), None);
    let joins = |incarnation| MemberInfo { incarnation, ..speaks("a", GossipState::Joining, 4, 4) };
    assert_eq!((barred(&[joins(1)]), barred(&[joins(3)])), (by("a"), None), "the later one of two gives way");
}

#[test]
fn who_takes_part_is_in_the_view_with_what_it_does() {
    let (mut members, before) = alone();
    let gossip = [
        info("a", GossipState::Starting),
        info("b", GossipState::Joining),
        info("c", GossipState::Ready),
        info("d", GossipState::Leaving),
        info("e", GossipState::Left),
        info("m", GossipState::Ready),
    ];
    let Review { view, discard, left } = review(&mut members, &gossip, &before, NOW);
    assert_eq!(names(&view), ["b", "c", "d", "m"]);
    let state = |name| view.get(name).map(|member| member.state);
    assert_eq!(state("b"), Some(MemberState::Joining));
    assert_eq!(state("d"), Some(MemberState::Leaving));
    assert_eq!(state("m"), Some(MemberState::Joining), "what gossip says of its own name changes nothing");
    assert!(!discard);
    assert_eq!(left, [("e".into(), 1)]);
}

#[test]
fn who_says_that_it_leaves_does_so_whatever_gossip_still_says() {
    let (mut members, before) = alone();
    let gossip = [info("a", GossipState::Ready)];
    members.on_evidence(Evidence::Leaving(gossip[0].node()), true, 0, NOW);
    let view = review(&mut members, &gossip, &before, NOW).view;
    assert_eq!(view.get("a").map(|member| member.state), Some(MemberState::Leaving));
    members.on_evidence(Evidence::Left(gossip[0].node()), true, 0, NOW);
    assert_eq!(names(&review(&mut members, &gossip, &view, NOW).view), ["m"]);
}

#[test]
fn a_port_that_refuses_removes_a_member_only_if_there_is_a_link_to_it() {
    let (mut members, before) = alone();
    let gossip = [info("a", GossipState::Ready)];
    members.on_evidence(Evidence::Refused(gossip[0].node()), false, 0, NOW);
    let view = review(&mut members, &gossip, &before, NOW).view;
    assert_eq!(names(&view), ["a", "m"]);
    members.on_evidence(Evidence::Refused(gossip[0].node()), true, 0, NOW);
    assert!(members.is_over(gossip[0].node()));
    assert_eq!(names(&review(&mut members, &gossip, &view, NOW).view), ["m"]);
}

#[test]
fn who_is_heard_though_its_port_refuses_is_a_member_again_and_suspected() {
    let (mut members, before) = alone();
    let mut gossip = [info("a", GossipState::Ready)];
    let node = gossip[0].node();
    hear(&mut members, &gossip, &before, NOW);
    members.on_evidence(Evidence::Refused(node), true, 0, NOW);
    let suspected = (1..100).find_map(|step| {
        gossip[0].heartbeat += 1;
        let admitted = hear(&mut members, &gossip, &before, NOW.plus_ms(step * 200));
        (!admitted.is_empty()).then_some(admitted)
    });
    assert_eq!(suspected, Some(vec![node]));
    assert!(!members.is_over(node));
}

#[test]
fn a_node_becomes_ready_for_the_time_that_it_joined_last_and_not_while_it_leaves() {
    let own = |members: &mut Members, before: &View| review(members, &[], before, NOW).view.members()[0].state;
    let (mut members, before) = alone();
    members.on_evidence(Evidence::Ready(0), false, 1, NOW);
    assert_eq!(own(&mut members, &before), MemberState::Joining, "it has discarded what it held since");
    members.on_evidence(Evidence::Ready(1), false, 1, NOW);
    assert_eq!(own(&mut members, &before), MemberState::Ready);
    members.on_evidence(Evidence::LeavingMyself, false, 1, NOW);
    members.on_evidence(Evidence::Ready(1), false, 1, NOW);
    assert_eq!(own(&mut members, &before), MemberState::Leaving);
}

/// What becomes of a node that is alone for so long, and then sees these again.
fn after_being_alone(ms: u64, others: &[&str]) -> Review {
    let (mut members, before) = alone();
    members.on_evidence(Evidence::Ready(0), false, 0, NOW);
    let gossip: Vec<_> = others.iter().map(|name| info(name, GossipState::Ready)).collect();
    let together = review(&mut members, &gossip, &before, NOW).view;
    let alone = review(&mut members, &[], &together, NOW.plus_ms(1)).view;
    assert_eq!(names(&alone), ["m"]);
    review(&mut members, &gossip, &alone, NOW.plus_ms(1 + ms))
}

#[test]
fn who_was_alone_for_longer_than_tombstones_are_kept_discards_its_copies_but_one_of_two_keeps_them() {
    assert!(!after_being_alone(RETENTION_MS, &["a", "b"]).discard);
    let too_long = after_being_alone(RETENTION_MS + 1, &["a", "b"]);
    assert!(too_long.discard);
    assert_eq!(too_long.view.get("m").map(|member| member.state), Some(MemberState::Joining));
    assert!(after_being_alone(RETENTION_MS + 1, &["a"]).discard, "a keeps what it has");
    assert!(!after_being_alone(RETENTION_MS + 1, &["z"]).discard, "z discards");
}

#[test]
fn a_newcomer_that_hears_of_nobody_for_long_has_nothing_to_discard() {
    let (mut members, before) = alone();
    let alone = review(&mut members, &[], &before, NOW).view;
    let later = NOW.plus_ms(2 * RETENTION_MS);
    assert!(
        !review(&mut members, &[info("a", GossipState::Ready), info("b", GossipState::Ready)], &alone, later).discard
    );
}

#[test]
fn differences_of_views_say_who_came_who_was_restarted_and_who_is_gone() {
    let (mut members, _) = alone();
    let view = |names: &[&str]| View::new(names.iter().map(|name| with_terms(name, MemberState::Ready)));
    let before = view(&["a", "b", "c", "m"]);
    let restarted = Member { incarnation: 2, ..with_terms("a", MemberState::Joining) };
    let after = View::new([restarted, with_terms("d", MemberState::Joining), with_terms("m", MemberState::Ready)]);
    let [a, b, c] = ["a", "b", "c"].map(|name| before.get(name).expect("it is in the view"));
    members.on_evidence(Evidence::Leaving(b.node()), true, 0, NOW);
    members.on_evidence(Evidence::Refused(c.node()), true, 0, NOW);
    let changes = members.changes(&before, &after);
    assert_eq!(
        changes,
        [
            Change::Restarted { was: a, planned: false },
            Change::Up(after.get("d").expect("it is in the view")),
            Change::Down { member: b, planned: true, dead: false },
            Change::Down { member: c, planned: false, dead: true },
        ]
    );
    assert!(members.changes(&after, &after).is_empty());
    let mut lost = LostMembers::default();
    lost.view_changed(&changes, &after, NOW, 60_000);
    let missing = lost.blind(3, NOW).map(|blind| blind.missing);
    assert_eq!(missing, None, "c alone took no last copy, b left, and what a held is gone for certain");
}

#[test]
fn a_later_life_of_the_own_name_replaces_this_one_and_an_earlier_one_is_reported_once() {
    let (_, before) = alone();
    let mut members = Members::new(Member { incarnation: 5, ..with_terms("m", MemberState::Joining) }, Versions::OURS);
    let mut lives = [info("m", GossipState::Ready), info("m", GossipState::Ready), info("m", GossipState::Starting)];
    (lives[1].incarnation, lives[2].incarnation) = (7, 9);
    hear(&mut members, &lives, &before, NOW);
    assert_eq!(members.other_lives(&lives), OtherLives::default(), "their heartbeats may be old");
    lives.iter_mut().for_each(|life| life.heartbeat += 1);
    hear(&mut members, &lives, &before, NOW);
    let found = members.other_lives(&lives);
    assert_eq!((found.later, found.earlier), (Some(7), vec![&lives[0]]), "whoever starts takes no part yet");
    assert!(members.other_lives(&lives).earlier.is_empty(), "it was reported");
    members.other_lives(&[]);
    assert_eq!(members.other_lives(&lives).earlier.len(), 1, "it is there again");
}
