//! Histories by hand, each of which must be judged right.

use std::collections::BTreeSet;

use super::*;

/// Three nodes with one backup, all settled, and a way to tell a history.
struct Story {
    checker: Checker,
    session: usize,
    now: Ms,
}

fn shown(last: Option<u64>, numbers: &[u64]) -> Said {
    let numbers = numbers.iter().copied().collect::<BTreeSet<_>>();
    Said::Done { copies: 1, shown: Some(Shown { user: "ada".to_owned(), last, numbers }) }
}

fn unknown() -> Said {
    Said::Unknown("no answer".to_owned())
}

fn failed() -> Said {
    Said::Failed("refused".to_owned())
}

impl Story {
    /// With a session that node 0 has acknowledged.
    fn new() -> Self {
        let mut checker = Checker::new(World::new(3, 1));
        let session = checker.open("ada".to_owned());
        let mut story = Self { checker, session, now: 1_000 };
        story.ask(0, What::Login, shown(None, &[]));
        story
    }

    fn ask(&mut self, node: usize, what: What, said: Said) {
        let (begun, ended) = (self.now, self.now + 10);
        self.checker.begin(self.session, what, node, begun);
        let op = self.op(node, what, said);
        self.checker.end(&Op { begun, ended, ..op });
        self.now += 20;
    }

    fn op(&self, node: usize, what: What, said: Said) -> Op {
        let life = self.checker.world.life(node);
        Op { session: self.session, node, life, begun: self.now, ended: self.now + 10, what, said }
    }

    fn split(&mut self) {
        self.checker.world.disturbed(true, self.now);
    }

    fn crash(&mut self, node: usize) {
        self.checker.world.crashed(node, self.now);
        self.checker.world.started(node);
        self.now += 10;
    }

    /// All nodes are asked when all has settled. Whether that is as promised.
    fn look(&mut self, said: [Said; 3]) -> bool {
        self.now += 1_000;
        let answers: Vec<Op> =
            said.into_iter().enumerate().map(|(node, said)| self.op(node, What::Read, said)).collect();
        let kept = self.checker.judge_settled(self.session, &answers, true);
        self.checker.settle(self.session, &answers[0].said, self.now);
        self.checker.world.settled(self.now);
        self.now += 20;
        kept
    }

    fn all(&mut self, said: &Said) -> bool {
        self.look([said.clone(), said.clone(), said.clone()])
    }

    fn broken(&self) -> Vec<&'static str> {
        self.checker.violations.iter().map(|violation| violation.promise).collect()
    }
}

#[test]
fn a_history_as_promised_breaks_nothing() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(1, What::Read, shown(Some(1), &[1]));
    story.ask(1, What::Write(2), shown(Some(1), &[1]));
    assert!(story.all(&shown(Some(2), &[1, 2])));
    story.crash(2);
    story.ask(0, What::Logout, Said::Done { copies: 1, shown: None });
    story.ask(1, What::Read, Said::None);
    assert!(story.all(&Said::None));
    story.ask(0, What::Read, Said::None);
    assert!(story.broken().is_empty(), "{:?}", story.checker.violations);
}

#[test]
fn an_acknowledged_write_that_is_missing_is_found_while_whole_and_when_settled() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(1, What::Read, shown(None, &[]));
    assert_eq!(story.broken(), [LOST_WRITE]);
    assert!(!story.all(&shown(None, &[])));
}

#[test]
fn in_a_partition_a_write_may_be_missing_until_all_has_settled() {
    let mut story = Story::new();
    story.split();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(1, What::Read, shown(None, &[]));
    assert!(story.broken().is_empty());
    assert!(!story.all(&shown(None, &[])));
    assert!(story.broken().contains(&LOST_WRITE));
}

#[test]
fn a_write_that_had_settled_is_seen_through_every_partition() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), shown(None, &[]));
    assert!(story.all(&shown(Some(1), &[1])));
    story.split();
    story.ask(2, What::Read, shown(None, &[]));
    assert_eq!(story.broken(), [LOST_WRITE]);
}

#[test]
fn an_older_value_of_what_all_overwrite_is_a_lost_write_too() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(0, What::Write(2), shown(Some(1), &[1]));
    assert!(!story.all(&shown(Some(1), &[1, 2])));
    assert!(story.broken().contains(&LOST_WRITE));
}

#[test]
fn of_two_writes_that_did_not_see_each_other_either_may_win() {
    for last in [1, 2] {
        let mut story = Story::new();
        story.split();
        story.ask(0, What::Write(1), shown(None, &[]));
        story.ask(1, What::Write(2), shown(None, &[]));
        assert!(story.all(&shown(Some(last), &[1, 2])), "{:?}", story.checker.violations);
    }
}

#[test]
fn beyond_the_crash_budget_nothing_is_promised() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.crash(0);
    story.crash(1);
    assert!(story.all(&Said::None), "{:?}", story.checker.violations);
    story.ask(0, What::Read, Said::None);
    assert!(story.broken().is_empty(), "{:?}", story.checker.violations);
}

#[test]
fn a_node_that_crashes_twice_counts_once_and_a_crash_before_the_change_does_not() {
    let mut story = Story::new();
    story.crash(1);
    story.crash(1);
    assert!(!story.all(&Said::None));
    let mut story = Story::new();
    story.all(&shown(None, &[]));
    story.crash(0);
    story.ask(1, What::Write(1), shown(None, &[]));
    story.crash(1);
    // The login had two crashes to bear, the write one.
    assert!(!story.all(&shown(None, &[])));
    assert!(story.broken().contains(&LOST_WRITE));
}

#[test]
fn a_change_without_copies_bears_no_crash() {
    let mut story = Story::new();
    story.ask(
        0,
        What::Write(1),
        Said::Done { copies: 0, shown: Some(Shown { user: "ada".to_owned(), ..Shown::default() }) },
    );
    story.crash(0);
    assert!(story.all(&shown(None, &[])), "{:?}", story.checker.violations);
}

#[test]
fn a_planned_stop_that_handed_over_is_no_crash_but_who_took_it_may_not_all_crash() {
    let stopped = |stayed| {
        let mut story = Story::new();
        let begun = story.now;
        story.crash(0);
        story.checker.world.handed_over(0, begun, stayed);
        story.crash(1);
        story.all(&Said::None)
    };
    assert!(!stopped(2), "one of two crashed");
    assert!(stopped(1), "the only one crashed");
}

#[test]
fn none_is_not_said_of_a_session_that_lives() {
    let mut story = Story::new();
    story.ask(2, What::Read, Said::None);
    assert_eq!(story.broken(), [NONE_WHOLE]);

    let mut story = Story::new();
    story.split();
    story.ask(2, What::Read, Said::None);
    assert!(story.broken().is_empty(), "its owners may be on the other side");

    let mut story = Story::new();
    story.all(&shown(None, &[]));
    story.split();
    story.ask(2, What::Write(1), Said::None);
    assert_eq!(story.broken(), [NONE_HELD]);

    let mut story = Story::new();
    story.all(&shown(None, &[]));
    story.split();
    story.checker.world.started(2);
    story.ask(2, What::Read, Said::None);
    assert!(story.broken().is_empty(), "a newcomer in a partition");
}

#[test]
fn unknown_outcomes_are_no_errors() {
    let mut story = Story::new();
    story.ask(0, What::Write(1), unknown());
    story.ask(0, What::Write(2), failed());
    story.ask(1, What::Read, shown(None, &[]));
    story.ask(1, What::Read, shown(Some(1), &[1]));
    assert!(story.all(&shown(Some(1), &[1])));
    story.ask(0, What::Logout, unknown());
    story.ask(1, What::Read, Said::None);
    story.ask(1, What::Read, shown(Some(1), &[1]));
    assert!(story.all(&shown(Some(1), &[1])));
    assert!(story.all(&Said::None));
    assert!(story.broken().is_empty(), "{:?}", story.checker.violations);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    for invented in [shown(None, &[7]), shown(Some(7), &[])] {
        let mut story = Story::new();
        story.ask(1, What::Read, invented);
        assert_eq!(story.broken(), [INVENTED]);
    }
    let mut story = Story::new();
    story.ask(0, What::Write(2), failed());
    story.ask(1, What::Read, shown(None, &[2]));
    assert_eq!(story.broken(), [INVENTED], "it was never sent");
    let mut story = Story::new();
    let stranger = Shown { user: "eve".to_owned(), ..Shown::default() };
    story.ask(1, What::Read, Said::Done { copies: 0, shown: Some(stranger) });
    assert_eq!(story.broken(), [INVENTED]);
}

#[test]
fn what_was_overwritten_when_all_had_settled_never_comes_back() {
    let mut story = Story::new();
    story.split();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(1, What::Write(2), shown(None, &[]));
    assert!(story.all(&shown(Some(2), &[1, 2])));
    story.split();
    story.ask(0, What::Read, shown(Some(1), &[1, 2]));
    assert!(story.broken().contains(&CAME_BACK), "{:?}", story.broken());
}

#[test]
fn an_ended_session_stays_ended() {
    let logout = || Said::Done { copies: 1, shown: None };
    let mut story = Story::new();
    story.ask(0, What::Logout, logout());
    story.ask(1, What::Read, shown(None, &[]));
    assert_eq!(story.broken(), [SERVED_NOWHERE]);

    let mut story = Story::new();
    story.split();
    story.ask(0, What::Logout, logout());
    story.ask(1, What::Read, shown(None, &[]));
    assert!(story.broken().is_empty(), "the other side may not know");
    story.ask(0, What::Read, shown(None, &[]));
    assert_eq!(story.broken(), [OWN_END]);
    assert!(!story.all(&shown(None, &[])));
    assert!(story.broken().contains(&STAYS_ENDED));

    let mut story = Story::new();
    story.ask(0, What::Logout, logout());
    assert!(story.all(&Said::None));
    story.split();
    for node in 0..3 {
        story.crash(node);
    }
    story.ask(2, What::Read, shown(None, &[]));
    assert_eq!(story.broken(), [NEVER_BACK], "whatever else happens");
}

#[test]
fn a_logout_that_was_not_made_ends_nothing() {
    let mut story = Story::new();
    story.ask(0, What::Logout, failed());
    story.ask(1, What::Read, Said::None);
    assert_eq!(story.broken(), [NONE_WHOLE]);
}

#[test]
fn when_all_has_settled_every_node_can_tell_and_says_the_same() {
    let mut story = Story::new();
    assert!(!story.look([shown(None, &[]), shown(None, &[]), unknown()]));
    assert_eq!(story.broken(), [SAME]);
    let mut story = Story::new();
    story.ask(0, What::Write(1), unknown());
    assert!(!story.look([shown(Some(1), &[1]), shown(None, &[]), shown(None, &[])]));
    assert_eq!(story.broken(), [SAME]);
}

#[test]
fn in_calm_every_request_succeeds_but_not_right_after_it_began() {
    let mut story = Story::new();
    story.all(&shown(None, &[]));
    story.ask(0, What::Read, failed());
    assert!(story.broken().is_empty());
    story.now += CALM_MS;
    story.ask(0, What::Read, failed());
    story.ask(0, What::Write(1), unknown());
    assert_eq!(story.broken(), [SUCCEEDS, SUCCEEDS]);
    let mut story = Story::new();
    story.all(&shown(None, &[]));
    story.now += CALM_MS;
    story.checker.world.disturbed(false, story.now);
    story.ask(0, What::Read, failed());
    assert!(story.broken().is_empty());
}

#[test]
fn another_look_may_follow_before_it_is_judged() {
    let mut story = Story::new();
    let answers = vec![story.op(0, What::Read, Said::None)];
    assert!(!story.checker.judge_settled(story.session, &answers, false));
    assert!(story.broken().is_empty());
    assert!(story.all(&shown(None, &[])));
}

#[test]
fn losses_are_counted_whatever_was_promised() {
    let mut story = Story::new();
    story.split();
    story.ask(0, What::Write(1), shown(None, &[]));
    story.ask(0, What::Write(2), shown(Some(1), &[1]));
    story.ask(0, What::Write(3), unknown());
    let read = |said| story.op(0, What::Read, said);
    let answers = [read(shown(Some(2), &[2])), read(shown(None, &[])), read(shown(None, &[]))];
    let mut losses = Losses::default();
    story.checker.count_losses(story.session, &answers, &mut losses);
    assert_eq!((losses.writes, losses.writes_lost, losses.writes_uneven), (2, 1, 1));
    assert_eq!((losses.logins, losses.logged_out, losses.logouts), (1, 0, 0));
    story.ask(1, What::Read, Said::None);
    story.ask(0, What::Logout, Said::Done { copies: 1, shown: None });
    let mut losses = Losses::default();
    story.checker.count_losses(story.session, &answers, &mut losses);
    assert_eq!((losses.logouts, losses.logouts_undone, losses.writes), (1, 1, 0));
}
