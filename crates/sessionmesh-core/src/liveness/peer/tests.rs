use super::*;

const VIEW: ViewHash = ViewHash(7);
const EPOCH: u64 = 3;
const TIMING: Timing = Timing::new(500);

fn at(ms: u64) -> Moment {
    Moment::START.plus_ms(ms)
}

fn leases(peer: &PeerLiveness, view: ViewHash, now: Moment) -> Option<Moment> {
    peer.status(Tick::InTime, true, &TIMING, &TIMING, now).leases(view, now)
}

fn goes_by(peer: &PeerLiveness, view: ViewHash, now: Moment) -> bool {
    let status = peer.status(Tick::InTime, true, &TIMING, &TIMING, now);
    status.view == Some(view) && status.view_outlasts_leases
}

fn pong(sent: u64, granted: bool) -> PongSeen {
    PongSeen { sent: at(sent), view: VIEW, mine: VIEW, granted, lease_ms: 300, nothing_owed: true }
}

#[test]
fn a_lease_counts_from_the_question_so_a_stalled_node_finds_it_run_out() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(10));
    assert_eq!(leases(&peer, VIEW, at(299)), Some(at(300)));
    assert_eq!(leases(&peer, VIEW, at(300)), None);
    assert_eq!(leases(&peer, ViewHash(8), at(10)), None);
    // Asked before a stall of 600 ms, read after it: no lease, though the pong was only just read.
    peer.ponged(&pong(100, true), &TIMING, at(700));
    assert_eq!(leases(&peer, VIEW, at(700)), None);
}

#[test]
fn no_lease_is_relied_on_for_longer_than_its_granter_waits_for_it() {
    for (granter, asker) in [(100, 500), (500, 100), (500, 500)].map(|(g, a)| (Timing::new(g), Timing::new(a))) {
        let (mut granting, mut asking) = (PeerLiveness::new(at(0)), PeerLiveness::new(at(0)));
        granting.mark_caught_up(EPOCH);
        assert!(granting.grant(true, EPOCH, &granter, at(1)));
        asking.ponged(&PongSeen { lease_ms: asker.lease_from(&granter), ..pong(0, true) }, &asker, at(2));
        granting.suspect(&granter, at(2));
        let left_out = (0..).find(|ms| granting.is_left_out(at(*ms))).unwrap();
        assert_eq!(leases(&asking, VIEW, at(left_out)), None, "left out after {left_out} ms");
    }
}

#[test]
fn what_was_said_under_another_view_of_this_node_does_not_count_when_views_come_again() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    assert_eq!((peer.view(), leases(&peer, VIEW, at(2))), (Some(VIEW), Some(at(300))));
    // A member is lost, and found again: the view is the same as before.
    peer.own_view_changed(at(10));
    peer.own_view_changed(at(20));
    assert_eq!((peer.view(), leases(&peer, VIEW, at(21))), (None, None), "the peer may go by the one between");
    peer.ponged(&pong(15, true), &TIMING, at(22));
    assert_eq!((peer.view(), leases(&peer, VIEW, at(23))), (None, None), "it was asked before the change");
    peer.ponged(&pong(21, true), &TIMING, at(24));
    assert_eq!((peer.view(), leases(&peer, VIEW, at(25))), (Some(VIEW), Some(at(321))));
}

#[test]
fn no_lease_is_granted_to_a_peer_that_owes_answers_or_never_caught_up() {
    let mut peer = PeerLiveness::new(at(0));
    assert!(!peer.grant(true, EPOCH, &TIMING, at(1)));
    peer.mark_caught_up(EPOCH);
    assert!(peer.grant(true, EPOCH, &TIMING, at(2)));
    // Also if it is a view that was there before: what was written meanwhile is owed.
    assert!(!peer.grant(true, EPOCH + 2, &TIMING, at(2)));
    peer.progressed(at(10));
    assert!(peer.grant(false, EPOCH, &TIMING, at(59)));
    assert!(!peer.grant(false, EPOCH, &TIMING, at(60)));
}

#[test]
fn a_suspected_peer_is_left_out_only_when_its_last_lease_has_run_out() {
    let mut peer = PeerLiveness::new(at(0));
    peer.mark_caught_up(EPOCH);
    assert!(peer.grant(true, EPOCH, &TIMING, at(100)));
    peer.suspect(&TIMING, at(120));
    assert!(peer.is_suspected());
    assert!(!peer.is_left_out(at(399)));
    assert!(peer.is_left_out(at(400)));
    assert!(!peer.grant(true, EPOCH, &TIMING, at(130)));
}

#[test]
fn silence_leaves_time_for_a_stand_in_before_the_deadline() {
    let mut peer = PeerLiveness::new(at(0));
    peer.mark_caught_up(EPOCH);
    peer.progressed(at(0));
    let mut last = 0;
    for ms in 0..350 {
        if peer.grant(false, EPOCH, &TIMING, at(ms)) {
            last = ms;
        }
        assert!(!peer.is_overdue(false, &TIMING, at(ms)));
    }
    assert_eq!(last, 49);
    assert!(peer.is_overdue(false, &TIMING, at(350)));
    peer.suspect(&TIMING, at(350));
    assert!(peer.is_left_out(at(350)), "the lease of {last} has run out at suspicion");
}

#[test]
fn a_peer_is_reinstated_after_a_prompt_answer_with_nothing_owed_and_the_back_off_doubles() {
    let mut peer = PeerLiveness::new(at(0));
    peer.suspect(&TIMING, at(0));
    assert!(!peer.ponged(&pong(340, true), &TIMING, at(345)), "before the back-off is over");
    assert!(!peer.ponged(&pong(0, true), &TIMING, at(400)), "not prompt");
    let owing = PongSeen { nothing_owed: false, ..pong(390, true) };
    assert!(!peer.ponged(&owing, &TIMING, at(400)));
    assert!(peer.ponged(&pong(390, true), &TIMING, at(400)));
    assert!(!peer.is_suspected());
    peer.suspect(&TIMING, at(500));
    assert!(!peer.ponged(&pong(1_190, true), &TIMING, at(1_199)));
    assert!(peer.ponged(&pong(1_190, true), &TIMING, at(1_200)));
}

#[test]
fn after_a_stall_a_peer_counts_as_one_of_the_view_only_when_it_says_so_again() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    assert_eq!((peer.view, peer.is_doubted()), (Some(VIEW), false));
    peer.ticked(Tick::Stalled(1_999), &TIMING, at(2_000));
    peer.ponged(&pong(100, true), &TIMING, at(2_001));
    assert_eq!((peer.view, peer.is_doubted()), (None, true), "the answer had waited during the stall");
    let other = PongSeen { view: ViewHash(8), ..pong(2_002, true) };
    peer.ponged(&other, &TIMING, at(2_003));
    assert_eq!((peer.view, peer.is_doubted()), (Some(ViewHash(8)), true));
    peer.ponged(&pong(2_004, true), &TIMING, at(2_005));
    assert_eq!((peer.view, peer.is_doubted()), (Some(VIEW), false));
}

#[test]
fn a_peer_goes_by_a_view_once_the_leases_that_it_granted_under_another_one_have_run_out() {
    let mut peer = PeerLiveness::new(at(0));
    let under = |view, sent| PongSeen { view, ..pong(sent, true) };
    peer.ponged(&under(ViewHash(8), 0), &TIMING, at(1));
    peer.ponged(&under(VIEW, 1_000), &TIMING, at(1_001));
    peer.ponged(&under(VIEW, 1_100), &TIMING, at(1_101));
    assert!(!goes_by(&peer, VIEW, at(1_300)));
    assert!(goes_by(&peer, VIEW, at(1_301)));
    assert!(!goes_by(&peer, ViewHash(8), at(1_301)));
    peer.ticked(Tick::Stalled(400), &TIMING, at(2_000));
    assert!(!goes_by(&peer, VIEW, at(2_400)), "it may have gone by another one meanwhile");
    peer.ponged(&under(VIEW, 2_400), &TIMING, at(2_401));
    assert!(!goes_by(&peer, VIEW, at(2_700)));
    assert!(goes_by(&peer, VIEW, at(2_701)));
}

#[test]
fn a_peer_is_silent_only_if_this_node_was_awake_to_hear_it() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    assert!(!peer.is_silent(&TIMING, at(5_000)), "it was not asked");
    peer.pinged(at(5_000));
    assert!(!peer.is_silent(&TIMING, at(5_349)));
    assert!(peer.is_silent(&TIMING, at(5_350)));
    assert!(!peer.is_removable(&TIMING, at(5_699)));
    assert!(peer.is_removable(&TIMING, at(5_700)));
    peer.ticked(Tick::Stalled(3_000), &TIMING, at(9_000));
    assert!(!peer.is_silent(&TIMING, at(10_049)));
    assert!(peer.is_silent(&TIMING, at(10_050)));
    assert!(!peer.is_cut_off(&TIMING, at(10_050)));
    assert!(peer.is_cut_off(&TIMING, at(13_200)));
}

#[test]
fn of_each_gap_of_a_late_node_a_part_counts_as_silence() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    peer.pinged(at(1_000));
    peer.progressed(at(1_000));
    // Each beat comes 250 ms after the one before: 150 ms of it count.
    for beat in 1..=2 {
        peer.ticked(Tick::Late(250), &TIMING, at(1_000 + beat * 250));
    }
    assert!(!peer.is_silent(&TIMING, at(1_500)), "300 ms");
    assert!(!peer.is_overdue(false, &TIMING, at(1_500)));
    peer.ticked(Tick::Late(250), &TIMING, at(1_750));
    assert!(peer.is_silent(&TIMING, at(1_750)), "450 ms");
    assert!(peer.is_overdue(false, &TIMING, at(1_750)));
    // A sign of life counts from when it is read, however late.
    peer.ponged(&pong(1_000, true), &TIMING, at(1_760));
    peer.pinged(at(1_760));
    assert!(!peer.is_silent(&TIMING, at(2_000)));
}

#[test]
fn stall_upon_stall_a_silent_peer_is_noticed_at_last() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    let gone = (1..100).find(|beat| {
        let now = at(beat * 400);
        peer.ticked(Tick::Stalled(400), &TIMING, now);
        peer.is_removable(&TIMING, now)
    });
    // 700 ms of grace after the first stall, and 700 ms of silence, of which each beat after that counts 150.
    assert_eq!(gone, Some(8));
    peer.ticked(Tick::Stalled(700), &TIMING, at(4_000));
    assert!(!peer.is_silent(&TIMING, at(5_049)), "its links may be gone");
}

#[test]
fn what_a_peer_gave_stays_given_until_it_says_otherwise() {
    let mut peer = PeerLiveness::new(at(0));
    assert!(!peer.status(Tick::InTime, true, &TIMING, &TIMING, at(0)).gave_all(VIEW));
    // Read so late that the lease has run out.
    peer.ponged(&pong(0, true), &TIMING, at(500));
    assert_eq!(leases(&peer, VIEW, at(500)), None);
    assert!(
        peer.status(Tick::InTime, true, &TIMING, &TIMING, at(0)).gave_all(VIEW)
            && !peer.status(Tick::InTime, true, &TIMING, &TIMING, at(0)).gave_all(ViewHash(8))
    );
    peer.ponged(&pong(500, false), &TIMING, at(510));
    assert!(!peer.status(Tick::InTime, true, &TIMING, &TIMING, at(0)).gave_all(VIEW));
}

#[test]
fn a_ready_member_that_is_silent_without_a_link_is_unreachable_until_it_is_suspected() {
    let mut peer = PeerLiveness::new(at(0));
    peer.pinged(at(0));
    let unreachable = |peer: &PeerLiveness, connected, ready| peer.is_unreachable(connected, ready, &TIMING, at(400));
    assert!(unreachable(&peer, false, true));
    assert!(!unreachable(&peer, true, true), "the link is up");
    assert!(!unreachable(&peer, false, false), "newcomers are busy");
    assert!(!peer.is_unreachable(false, true, &TIMING, at(100)), "not yet");
    peer.suspect(&TIMING, at(400));
    assert!(!unreachable(&peer, false, true), "it is suspected already");
}

#[test]
fn who_wakes_from_a_stall_doubts_its_peers_before_a_tick_says_so() {
    let mut peer = PeerLiveness::new(at(0));
    peer.ponged(&pong(0, true), &TIMING, at(1));
    peer.pinged(at(10));
    let seen = |tick| peer.status(tick, true, &TIMING, &TIMING, at(9_000));
    let woken = seen(Tick::Stalled(8_000));
    assert!(woken.doubted && woken.view.is_none(), "the peer may have removed this node: {woken:?}");
    assert!(!woken.silent && !woken.long_silent && !woken.cut_off, "the silence may be this node's own: {woken:?}");
    let awake = seen(Tick::InTime);
    assert!(!awake.doubted && awake.view == Some(VIEW) && awake.cut_off, "{awake:?}");
    let mut ticked = peer.clone();
    ticked.ticked(Tick::Stalled(8_000), &TIMING, at(9_000));
    assert_eq!(ticked.status(Tick::InTime, false, &TIMING, &TIMING, at(9_000)), woken, "the tick says the same");
}
