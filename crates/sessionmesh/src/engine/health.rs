//! What a node knows of a peer's health: leases in both directions, and suspicion.
//!
//! A *lease* is the right of an owner to read its own copies without asking. Each member grants it to each other
//! member, since each may write. It is counted from the moment the owner asked for it, so a node that was stalled
//! finds its own leases run out, whatever waits in its sockets.
//!
//! A peer that makes no progress is *suspected*: commits leave it out once the last lease granted to it has run out.

use sessionmesh_core::moment::Moment;
use sessionmesh_core::probe::{self, Bug, Path};
use sessionmesh_core::view::ViewHash;

/// The times that govern health, in milliseconds, all derived from the commit deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a granted lease lasts, from the ping that asked for it.
    pub(crate) lease_ms: u64,
    /// A peer that owes answers for so long gets no more leases.
    pub(crate) withhold_ms: u64,
    /// A peer that owes answers for so long is suspected. By then the last lease has run out.
    pub(crate) suspect_ms: u64,
    /// A suspected peer must answer a probe within this to be trusted again.
    pub(crate) probe_ms: u64,
    /// How often a lease is asked for.
    pub(crate) ping_ms: u64,
}

impl Patience {
    /// The times for a commit deadline: a lease of 3/5, suspicion after 7/10, which leaves 3/10 to a stand-in.
    pub(crate) const fn new(deadline_ms: u64) -> Self {
        Self {
            lease_ms: deadline_ms * 3 / 5,
            withhold_ms: deadline_ms / 10,
            suspect_ms: deadline_ms * 7 / 10,
            probe_ms: deadline_ms / 2,
            ping_ms: deadline_ms / 5,
        }
    }
}

impl Patience {
    /// How long a lease may be relied on that was granted by somebody with this patience, who waits no longer than his own
    /// lease lasts before he goes on alone.
    pub(crate) fn lease_from(&self, granter: &Self) -> u64 {
        self.lease_ms.min(granter.lease_ms)
    }

    /// How often a node looks at itself and its peers.
    pub(crate) const fn beat_ms(&self) -> u64 {
        let half = self.withhold_ms / 2;
        if half == 0 { 1 } else { half }
    }

    /// A node whose beats are so far apart is late. Answers that came meanwhile may still be unread, so no more than this of
    /// the gap counts as the silence of others; and what is read then may have come when the gap began.
    pub(crate) const fn late_ms(&self) -> u64 {
        self.withhold_ms * 3
    }

    /// A node whose beats are so far apart was stalled: its leases have run out, and others may have gone on without it.
    /// What makes less too little for that is [`Patience::gone_ms`].
    pub(crate) const fn stall_ms(&self) -> u64 {
        self.lease_ms
    }

    /// A peer that owes a sign of life for so long may be removed, once gossip has lost it, too. A node that was late, but
    /// not stalled, is not silent for so long, even with the time between two pings and a slow round trip added.
    pub(crate) const fn gone_ms(&self) -> u64 {
        self.suspect_ms * 2
    }
}

/// The health of one peer, as this node sees it.
#[derive(Debug)]
pub(crate) struct Health {
    /// When the outbox last made progress: something was answered, or it got its first mark.
    progress: Moment,
    /// The last lease granted to the peer was given then.
    granted: Option<Moment>,
    /// The peer once had nothing owed to it under this view.
    settled: Option<ViewHash>,
    suspected: Option<Suspicion>,
    /// The suspicions of late, for the back-off.
    strikes: u32,
    /// Until when the peer lets this node trust its own copies, and under which view of the peer; as it last said.
    lease: Option<(Moment, ViewHash)>,
    /// The view the peer last reported, not counting what was asked before a stall of this node.
    pub(crate) view: Option<ViewHash>,
    /// Since when it has reported that view.
    view_since: Moment,
    /// This node was stalled, then, and the peer has not reported its view since: it may not count this node any more.
    doubted: Option<Moment>,
    /// Since when the peer owes a sign of life: the oldest ping without an answer, or the loss of the link. After a
    /// stall of this node the counting starts anew, since the silence may have been its own.
    missed: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    left_out_from: Moment,
    trusted_again_from: Moment,
}

/// The longest that a peer that was suspected again and again must behave before it is waited for.
const BACK_OFF_MS_MAX: u64 = 30_000;

impl Health {
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            progress: now,
            granted: None,
            settled: None,
            suspected: None,
            strikes: 0,
            lease: None,
            view: None,
            view_since: now,
            doubted: None,
            missed: Some(now),
        }
    }

    /// The outbox got its first mark, or an answer came.
    pub(crate) fn progressed(&mut self, now: Moment) {
        self.progress = now;
    }

    /// Nothing is owed to the peer under this view.
    pub(crate) fn settle(&mut self, view: ViewHash) {
        self.settled = Some(view);
    }

    /// Whether the peer was settled under this view.
    pub(crate) fn is_settled(&self, view: ViewHash) -> bool {
        self.settled == Some(view)
    }

    /// Whether the peer is not waited for.
    pub(crate) const fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// Whether commits are acknowledged without the peer.
    pub(crate) fn is_left_out(&self, now: Moment) -> bool {
        self.suspected.is_some_and(|suspicion| now >= suspicion.left_out_from)
    }

    /// Whether the peer's outbox, unless it is clear, has made no progress for so long that it must be suspected.
    pub(crate) fn is_overdue(&self, clear: bool, patience: &Patience, now: Moment) -> bool {
        let hasty = probe::planted(Bug::LeasesIgnored);
        let bound = if hasty { patience.withhold_ms } else { patience.suspect_ms };
        !clear && self.suspected.is_none() && now.ms_since(self.progress) >= bound
    }

    /// Suspects the peer from now on.
    pub(crate) fn suspect(&mut self, patience: &Patience, now: Moment) {
        if self.suspected.is_some() {
            return;
        }
        self.strikes = (self.strikes + 1).min(16);
        let back_off = (patience.suspect_ms << (self.strikes - 1)).min(BACK_OFF_MS_MAX);
        let leases_end = self.granted.map_or(now, |granted| granted.plus_ms(patience.lease_ms));
        let left_out_from = if probe::planted(Bug::LeasesIgnored) { now } else { leases_end.max(now) };
        self.suspected = Some(Suspicion { left_out_from, trusted_again_from: now.plus_ms(back_off) });
        self.settled = None;
    }

    /// Whether the peer may still answer for its own copies under another view than this one: a lease that was granted to
    /// it runs, and it has not reported this view.
    pub(crate) fn may_trust_itself(&self, view: ViewHash, patience: &Patience, now: Moment) -> bool {
        self.view != Some(view) && self.granted.is_some_and(|granted| now < granted.plus_ms(patience.lease_ms))
    }

    /// Whether the peer has reported this view for so long that no lease runs any more that it granted under another one.
    /// `patience` is the peer's.
    pub(crate) fn has_gone_by(&self, view: ViewHash, patience: &Patience, now: Moment) -> bool {
        self.view == Some(view) && now.ms_since(self.view_since) >= patience.lease_ms
    }

    /// Answers a ping: whether the lease is granted.
    pub(crate) fn grant(&mut self, clear: bool, view: ViewHash, patience: &Patience, now: Moment) -> bool {
        let stalled = !clear && now.ms_since(self.progress) >= patience.withhold_ms;
        probe::reached_if(Path::LeaseWithheld, || stalled);
        let granted = self.suspected.is_none() && !stalled && self.settled == Some(view);
        if granted {
            self.granted = Some(now);
        }
        granted
    }

    /// A ping leaves.
    pub(crate) fn pinged(&mut self, now: Moment) {
        self.missed.get_or_insert(now);
    }

    /// A pong came to the ping of `sent`. Says whether the peer is trusted again.
    pub(crate) fn ponged(&mut self, pong: &PongSeen, patience: &Patience, now: Moment) -> bool {
        self.missed = None;
        if self.doubted.is_none_or(|woken| pong.sent >= woken) {
            if self.view != Some(pong.view) {
                self.view_since = now;
            }
            self.view = Some(pong.view);
            self.doubted = self.doubted.filter(|_| pong.view != pong.mine);
        }
        self.lease = pong.granted.then(|| (pong.sent.plus_ms(pong.lease_ms), pong.view));
        let Some(suspicion) = self.suspected else {
            if now.ms_since(self.progress) > BACK_OFF_MS_MAX {
                self.strikes = 0;
            }
            return false;
        };
        let prompt = now.ms_since(pong.sent) <= patience.probe_ms;
        if pong.nothing_owed && prompt && now >= suspicion.trusted_again_from {
            probe::reached(Path::TrustedAgain);
            self.suspected = None;
            self.progress = now;
            return true;
        }
        false
    }

    /// Until when the peer lets this node trust its own copies under this view, if it does now.
    pub(crate) fn leases(&self, view: ViewHash, now: Moment) -> Option<Moment> {
        self.lease.filter(|(until, under)| *under == view && now < *until).map(|(until, _)| until)
    }

    /// Whether the peer, when it answered last, let this node trust its own copies under this view: it owes it nothing.
    /// Unlike [`Health::leases`] it holds until the peer says otherwise or the link breaks, however late the answer is read.
    pub(crate) fn gave_all(&self, view: ViewHash) -> bool {
        self.lease.is_some_and(|(_, under)| under == view)
    }

    /// The link broke: no lease.
    pub(crate) fn disconnected(&mut self, now: Moment) {
        self.lease = None;
        self.missed.get_or_insert(now);
    }

    /// This node was late for `gap_ms`: it could not hear meanwhile, so most of that is not the silence of the peer. Some
    /// is, for a node that is late all the time must notice silence, too, if later.
    pub(crate) fn overslept(&mut self, gap_ms: u64, patience: &Patience, now: Moment) {
        let unheard = gap_ms.saturating_sub(patience.late_ms());
        let later = |since: Moment| since.plus_ms(unheard).min(now).max(since);
        self.missed = self.missed.map(later);
        self.progress = later(self.progress);
    }

    /// This node was stalled for `gap_ms`: it cannot tell who was silent meanwhile, and its links may have to be opened
    /// again before it hears anybody. So the counting starts anew, and later. Once, not at each of several stalls, unless
    /// they are so long that links break.
    pub(crate) fn stalled(&mut self, gap_ms: u64, patience: &Patience, now: Moment) {
        if self.is_doubted() && gap_ms < patience.gone_ms() {
            self.overslept(gap_ms, patience, now);
        } else {
            self.missed = Some(now.plus_ms(patience.suspect_ms * 2));
            self.progress = now;
        }
        self.view = None;
        self.doubted = Some(now);
    }

    /// Whether the peer may have removed this node while it was stalled, and have gone on without it.
    pub(crate) const fn is_doubted(&self) -> bool {
        self.doubted.is_some()
    }

    /// Whether the peer gave no sign of life for as long as it takes to suspect it, while this node was awake.
    pub(crate) fn is_silent(&self, patience: &Patience, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= patience.suspect_ms)
    }

    /// Whether the peer is silent for so long that it may be removed, if gossip has lost it, too.
    pub(crate) fn is_gone(&self, patience: &Patience, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= patience.gone_ms())
    }

    /// Whether the peer is silent for so long that gossip would have removed it, were it gone: it hangs, or only its
    /// link is cut. Nobody waits for its lease any more.
    pub(crate) fn is_cut_off(&self, patience: &Patience, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= patience.suspect_ms * CUT_OFF)
    }
}

/// How many times the time to suspicion a peer must be silent to be cut off.
const CUT_OFF: u64 = 10;

/// What a pong says, with this node's own part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PongSeen {
    pub(crate) sent: Moment,
    pub(crate) view: ViewHash,
    /// This node's own view.
    pub(crate) mine: ViewHash,
    pub(crate) granted: bool,
    /// How long the lease lasts: see [`Patience::lease_from`].
    pub(crate) lease_ms: u64,
    /// This node owes nothing to the peer.
    pub(crate) nothing_owed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: ViewHash = ViewHash(7);
    const PATIENCE: Patience = Patience::new(500);

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    fn pong(sent: u64, granted: bool) -> PongSeen {
        PongSeen { sent: at(sent), view: VIEW, mine: VIEW, granted, lease_ms: 300, nothing_owed: true }
    }

    #[test]
    fn a_lease_counts_from_the_question_so_a_stalled_node_finds_it_run_out() {
        let mut health = Health::new(at(0));
        health.ponged(&pong(0, true), &PATIENCE, at(10));
        assert_eq!(health.leases(VIEW, at(299)), Some(at(300)));
        assert_eq!(health.leases(VIEW, at(300)), None);
        assert_eq!(health.leases(ViewHash(8), at(10)), None);
        // Asked before a stall of 600 ms, read after it: no lease, though the pong was only just read.
        health.ponged(&pong(100, true), &PATIENCE, at(700));
        assert_eq!(health.leases(VIEW, at(700)), None);
    }

    #[test]
    fn no_lease_is_relied_on_for_longer_than_its_granter_waits_for_it() {
        for (granter, asker) in [(100, 500), (500, 100), (500, 500)].map(|(g, a)| (Patience::new(g), Patience::new(a)))
        {
            let (mut granting, mut asking) = (Health::new(at(0)), Health::new(at(0)));
            granting.settle(VIEW);
            assert!(granting.grant(true, VIEW, &granter, at(1)));
            asking.ponged(&PongSeen { lease_ms: asker.lease_from(&granter), ..pong(0, true) }, &asker, at(2));
            granting.suspect(&granter, at(2));
            let left_out = (0..).find(|ms| granting.is_left_out(at(*ms))).unwrap();
            assert_eq!(asking.leases(VIEW, at(left_out)), None, "left out after {left_out} ms");
        }
    }

    #[test]
    fn no_lease_is_granted_to_a_peer_that_owes_answers_or_was_never_settled() {
        let mut health = Health::new(at(0));
        assert!(!health.grant(true, VIEW, &PATIENCE, at(1)));
        health.settle(VIEW);
        assert!(health.grant(true, VIEW, &PATIENCE, at(2)));
        assert!(!health.grant(true, ViewHash(8), &PATIENCE, at(2)));
        health.progressed(at(10));
        assert!(health.grant(false, VIEW, &PATIENCE, at(59)));
        assert!(!health.grant(false, VIEW, &PATIENCE, at(60)));
    }

    #[test]
    fn a_suspected_peer_is_left_out_only_when_its_last_lease_has_run_out() {
        let mut health = Health::new(at(0));
        health.settle(VIEW);
        assert!(health.grant(true, VIEW, &PATIENCE, at(100)));
        health.suspect(&PATIENCE, at(120));
        assert!(health.is_suspected());
        assert!(!health.is_left_out(at(399)));
        assert!(health.is_left_out(at(400)));
        assert!(!health.grant(true, VIEW, &PATIENCE, at(130)));
    }

    #[test]
    fn silence_leaves_time_for_a_stand_in_before_the_deadline() {
        let mut health = Health::new(at(0));
        health.settle(VIEW);
        health.progressed(at(0));
        let mut last = 0;
        for ms in 0..350 {
            if health.grant(false, VIEW, &PATIENCE, at(ms)) {
                last = ms;
            }
            assert!(!health.is_overdue(false, &PATIENCE, at(ms)));
        }
        assert_eq!(last, 49);
        assert!(health.is_overdue(false, &PATIENCE, at(350)));
        health.suspect(&PATIENCE, at(350));
        assert!(health.is_left_out(at(350)), "the lease of {last} has run out at suspicion");
    }

    #[test]
    fn trust_returns_after_a_prompt_answer_with_nothing_owed_and_the_back_off_doubles() {
        let mut health = Health::new(at(0));
        health.suspect(&PATIENCE, at(0));
        assert!(!health.ponged(&pong(340, true), &PATIENCE, at(345)), "before the back-off is over");
        assert!(!health.ponged(&pong(0, true), &PATIENCE, at(400)), "not prompt");
        let owing = PongSeen { nothing_owed: false, ..pong(390, true) };
        assert!(!health.ponged(&owing, &PATIENCE, at(400)));
        assert!(health.ponged(&pong(390, true), &PATIENCE, at(400)));
        assert!(!health.is_suspected());
        health.suspect(&PATIENCE, at(500));
        assert!(!health.ponged(&pong(1_190, true), &PATIENCE, at(1_199)));
        assert!(health.ponged(&pong(1_190, true), &PATIENCE, at(1_200)));
    }

    #[test]
    fn after_a_stall_a_peer_counts_as_one_of_the_view_only_when_it_says_so_again() {
        let mut health = Health::new(at(0));
        health.ponged(&pong(0, true), &PATIENCE, at(1));
        assert_eq!((health.view, health.is_doubted()), (Some(VIEW), false));
        health.stalled(1_999, &PATIENCE, at(2_000));
        health.ponged(&pong(100, true), &PATIENCE, at(2_001));
        assert_eq!((health.view, health.is_doubted()), (None, true), "the answer had waited during the stall");
        let other = PongSeen { view: ViewHash(8), ..pong(2_002, true) };
        health.ponged(&other, &PATIENCE, at(2_003));
        assert_eq!((health.view, health.is_doubted()), (Some(ViewHash(8)), true));
        health.ponged(&pong(2_004, true), &PATIENCE, at(2_005));
        assert_eq!((health.view, health.is_doubted()), (Some(VIEW), false));
    }

    #[test]
    fn a_peer_goes_by_a_view_once_the_leases_that_it_granted_under_another_one_have_run_out() {
        let mut health = Health::new(at(0));
        let under = |view, sent| PongSeen { view, ..pong(sent, true) };
        health.ponged(&under(ViewHash(8), 0), &PATIENCE, at(1));
        health.ponged(&under(VIEW, 1_000), &PATIENCE, at(1_001));
        health.ponged(&under(VIEW, 1_100), &PATIENCE, at(1_101));
        assert!(!health.has_gone_by(VIEW, &PATIENCE, at(1_300)));
        assert!(health.has_gone_by(VIEW, &PATIENCE, at(1_301)));
        assert!(!health.has_gone_by(ViewHash(8), &PATIENCE, at(1_301)));
        health.stalled(400, &PATIENCE, at(2_000));
        assert!(!health.has_gone_by(VIEW, &PATIENCE, at(2_400)), "it may have gone by another one meanwhile");
        health.ponged(&under(VIEW, 2_400), &PATIENCE, at(2_401));
        assert!(!health.has_gone_by(VIEW, &PATIENCE, at(2_700)));
        assert!(health.has_gone_by(VIEW, &PATIENCE, at(2_701)));
    }

    #[test]
    fn a_peer_is_silent_only_if_this_node_was_awake_to_hear_it() {
        let mut health = Health::new(at(0));
        health.ponged(&pong(0, true), &PATIENCE, at(1));
        assert!(!health.is_silent(&PATIENCE, at(5_000)), "it was not asked");
        health.pinged(at(5_000));
        assert!(!health.is_silent(&PATIENCE, at(5_349)));
        assert!(health.is_silent(&PATIENCE, at(5_350)));
        assert!(!health.is_gone(&PATIENCE, at(5_699)));
        assert!(health.is_gone(&PATIENCE, at(5_700)));
        health.stalled(3_000, &PATIENCE, at(9_000));
        assert!(!health.is_silent(&PATIENCE, at(10_049)));
        assert!(health.is_silent(&PATIENCE, at(10_050)));
        assert!(!health.is_cut_off(&PATIENCE, at(10_050)));
        assert!(health.is_cut_off(&PATIENCE, at(13_200)));
    }

    #[test]
    fn of_each_gap_of_a_late_node_a_part_counts_as_silence() {
        let mut health = Health::new(at(0));
        health.ponged(&pong(0, true), &PATIENCE, at(1));
        health.pinged(at(1_000));
        health.progressed(at(1_000));
        // Each beat comes 250 ms after the one before: 150 ms of it count.
        for beat in 1..=2 {
            health.overslept(250, &PATIENCE, at(1_000 + beat * 250));
        }
        assert!(!health.is_silent(&PATIENCE, at(1_500)), "300 ms");
        assert!(!health.is_overdue(false, &PATIENCE, at(1_500)));
        health.overslept(250, &PATIENCE, at(1_750));
        assert!(health.is_silent(&PATIENCE, at(1_750)), "450 ms");
        assert!(health.is_overdue(false, &PATIENCE, at(1_750)));
        // A sign of life counts from when it is read, however late.
        health.ponged(&pong(1_000, true), &PATIENCE, at(1_760));
        health.pinged(at(1_760));
        assert!(!health.is_silent(&PATIENCE, at(2_000)));
    }

    #[test]
    fn stall_upon_stall_a_silent_peer_is_noticed_at_last() {
        let mut health = Health::new(at(0));
        health.ponged(&pong(0, true), &PATIENCE, at(1));
        let gone = (1..100).find(|beat| {
            let now = at(beat * 400);
            health.stalled(400, &PATIENCE, now);
            health.is_gone(&PATIENCE, now)
        });
        // 700 ms of grace after the first stall, and 700 ms of silence, of which each beat after that counts 150.
        assert_eq!(gone, Some(8));
        health.stalled(700, &PATIENCE, at(4_000));
        assert!(!health.is_silent(&PATIENCE, at(5_049)), "its links may be gone");
    }

    #[test]
    fn what_a_peer_gave_stays_given_until_it_says_otherwise() {
        let mut health = Health::new(at(0));
        assert!(!health.gave_all(VIEW));
        // Read so late that the lease has run out.
        health.ponged(&pong(0, true), &PATIENCE, at(500));
        assert_eq!(health.leases(VIEW, at(500)), None);
        assert!(health.gave_all(VIEW) && !health.gave_all(ViewHash(8)));
        health.ponged(&pong(500, false), &PATIENCE, at(510));
        assert!(!health.gave_all(VIEW));
    }
}
