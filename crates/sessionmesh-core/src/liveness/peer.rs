//! Leases in both directions, and suspicion.
//!
//! A *lease* is the right of an owner to read its own copies without asking. Each member grants it to each other
//! member, since each may write. It is counted from the moment the owner asked for it, so a node that was stalled
//! finds its own leases run out, whatever waits in its sockets.
//!
//! A peer that makes no progress is *suspected*: commits leave it out once the last lease granted to it has run out.

use super::stall::Tick;
use super::timing::Timing;
use crate::coverage::{self, Path};
use crate::failpoint::{self, Bug};
use crate::moment::Moment;
use crate::placement::view::ViewHash;

/// One peer as this node sees it. Two things are known of it, independently: whether commits wait for it, and for how long
/// it has given no sign of life.
///
/// | state | from | to |
/// |---|---|---|
/// | healthy | the beginning; reinstated | suspected, when it owes answers for [`Timing::suspect_ms`] |
/// | withheld: it gets no lease | it owes answers for [`Timing::withhold_ms`] | healthy, when it answers; suspected |
/// | suspected: it gets no lease, and is owed everything | [`PeerLiveness::suspect`] | left out, when its last lease has run out |
/// | left out: commits are acknowledged without it | suspected | reinstated |
/// | reinstated | a prompt answer after the back-off, with nothing owed | healthy |
///
/// | sign of life | since |
/// |---|---|
/// | silent | it was asked, or its link broke, [`Timing::suspect_ms`] ago |
/// | gone: removed once gossip has lost it, too | [`Timing::gone_ms`] ago |
/// | cut off: nobody waits for its lease | ten times [`Timing::suspect_ms`] ago |
#[derive(Clone, Debug)]
pub struct PeerLiveness {
    /// When the outbox last made progress: something was answered, or it got its first mark.
    progress: Moment,
    /// The last lease granted to the peer was given then.
    granted: Option<Moment>,
    /// The peer once had nothing owed to it in this epoch. Not under this view: one that comes again owes anew.
    caught_up: Option<u64>,
    suspected: Option<Suspicion>,
    /// The suspicions of late, for the back-off.
    strikes: u32,
    /// Until when the peer lets this node trust its own copies, and under which view of the peer; as it last said.
    lease: Option<(Moment, ViewHash)>,
    /// The view the peer last reported, not counting what was asked before a stall of this node or under another view of its own.
    view: Option<ViewHash>,
    /// This node's own view has been the same since.
    own_view_since: Option<Moment>,
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
    reinstated_from: Moment,
}

/// The longest that a peer that was suspected again and again must behave before it is waited for.
const BACK_OFF_MS_MAX: u64 = 30_000;

impl PeerLiveness {
    /// A peer that this node has just heard of.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            progress: now,
            granted: None,
            caught_up: None,
            suspected: None,
            strikes: 0,
            lease: None,
            view: None,
            own_view_since: None,
            view_since: now,
            doubted: None,
            missed: Some(now),
        }
    }

    /// The view that the peer last reported, not counting what was asked before a stall of this node or under another view of its
    /// own.
    #[must_use]
    pub const fn view(&self) -> Option<ViewHash> {
        self.view
    }

    /// The outbox got its first mark, or an answer came.
    pub fn progressed(&mut self, now: Moment) {
        self.progress = now;
    }

    /// Nothing is owed to the peer in this epoch.
    pub fn mark_caught_up(&mut self, epoch: u64) {
        self.caught_up = Some(epoch);
    }

    /// Whether the peer was caught up in this epoch.
    pub fn is_caught_up(&self, epoch: u64) -> bool {
        self.caught_up == Some(epoch)
    }

    /// Whether the peer is not waited for.
    pub const fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// Whether commits are acknowledged without the peer.
    pub fn is_left_out(&self, now: Moment) -> bool {
        self.suspected.is_some_and(|suspicion| now >= suspicion.left_out_from)
    }

    /// Whether the peer's outbox, unless it is clear, has made no progress for so long that it must be suspected.
    pub fn is_overdue(&self, clear: bool, timing: &Timing, now: Moment) -> bool {
        let hasty = failpoint::planted(Bug::LeasesIgnored);
        let bound = if hasty { timing.withhold_ms } else { timing.suspect_ms };
        !clear && self.suspected.is_none() && now.ms_since(self.progress) >= bound
    }

    /// Suspects the peer from now on.
    pub fn suspect(&mut self, timing: &Timing, now: Moment) {
        if self.suspected.is_some() {
            return;
        }
        self.strikes = (self.strikes + 1).min(16);
        let back_off = (timing.suspect_ms << (self.strikes - 1)).min(BACK_OFF_MS_MAX);
        let leases_end = self.granted.map_or(now, |granted| granted.plus_ms(timing.lease_ms));
        let left_out_from = if failpoint::planted(Bug::LeasesIgnored) { now } else { leases_end.max(now) };
        self.suspected = Some(Suspicion { left_out_from, reinstated_from: now.plus_ms(back_off) });
        self.caught_up = None;
    }

    /// Answers a ping: whether the lease is granted.
    pub fn grant(&mut self, clear: bool, epoch: u64, timing: &Timing, now: Moment) -> bool {
        let stalled = !clear && now.ms_since(self.progress) >= timing.withhold_ms;
        coverage::reached_if(Path::LeaseWithheld, || stalled);
        let granted = self.suspected.is_none() && !stalled && self.caught_up == Some(epoch);
        if granted {
            self.granted = Some(now);
        }
        granted
    }

    /// This node goes by another view from now on.
    ///
    /// What the peer said until now does not count any more, nor what it says to questions of before: if views come again, as when a
    /// member is lost and found, one of the two may have gone by the one between since, and relied on leases under it.
    pub fn own_view_changed(&mut self, now: Moment) {
        if !failpoint::planted(Bug::OldReportCounts) {
            (self.view, self.lease, self.own_view_since) = (None, None, Some(now));
        }
    }

    /// A ping leaves.
    pub fn pinged(&mut self, now: Moment) {
        self.missed.get_or_insert(now);
    }

    /// A pong came to the ping of `sent`. Says whether the peer is reinstated.
    pub fn ponged(&mut self, pong: &PongSeen, timing: &Timing, now: Moment) -> bool {
        self.missed = None;
        let asked_since = self.own_view_since.is_none_or(|changed| pong.sent > changed);
        if asked_since && self.doubted.is_none_or(|woken| pong.sent >= woken) {
            if self.view != Some(pong.view) {
                self.view_since = now;
            }
            self.view = Some(pong.view);
            self.doubted = self.doubted.filter(|_| pong.view != pong.mine);
        }
        self.lease = (asked_since && pong.granted).then(|| (pong.sent.plus_ms(pong.lease_ms), pong.view));
        let Some(suspicion) = self.suspected else {
            if now.ms_since(self.progress) > BACK_OFF_MS_MAX {
                self.strikes = 0;
            }
            return false;
        };
        let prompt = now.ms_since(pong.sent) <= timing.prompt_ms;
        if pong.nothing_owed && prompt && now >= suspicion.reinstated_from {
            coverage::reached(Path::Reinstated);
            self.suspected = None;
            self.progress = now;
            return true;
        }
        false
    }

    /// What the rules look at. `tick`: how a tick of this node would come now. What that would say of a stall holds before it
    /// comes, for whatever runs first when a node wakes. `could_hear`: this node had what it takes to hear the peer. `timing`
    /// is this node's, `theirs` the peer's.
    #[must_use]
    pub fn status(&self, tick: Tick, could_hear: bool, timing: &Timing, theirs: &Timing, now: Moment) -> PeerStatus {
        if tick != Tick::InTime {
            let mut seen = self.clone();
            seen.ticked(tick, timing, now);
            return seen.status(Tick::InTime, false, timing, theirs, now);
        }
        let long_silent = self.is_cut_off(timing, now);
        PeerStatus {
            left_out: self.is_left_out(now),
            silent: self.is_silent(timing, now),
            long_silent,
            cut_off: could_hear && long_silent,
            doubted: self.doubted.is_some(),
            view: self.view,
            view_outlasts_leases: now.ms_since(self.view_since) >= theirs.lease_ms,
            granted_until: self.granted.map(|granted| granted.plus_ms(timing.lease_ms)),
            lease: self.lease,
        }
    }

    /// The link broke: no lease.
    pub fn disconnected(&mut self, now: Moment) {
        self.lease = None;
        self.missed.get_or_insert(now);
    }

    /// A tick of this node comes.
    pub fn ticked(&mut self, tick: Tick, timing: &Timing, now: Moment) {
        match tick {
            Tick::InTime => {}
            Tick::Late(gap_ms) => self.overslept(gap_ms, timing, now),
            Tick::Stalled(gap_ms) => self.stalled(gap_ms, timing, now),
        }
    }

    /// This node was late for `gap_ms`: it could not hear meanwhile, so most of that is not the silence of the peer. Some
    /// is, for a node that is late all the time must notice silence, too, if later.
    fn overslept(&mut self, gap_ms: u64, timing: &Timing, now: Moment) {
        let unheard = gap_ms.saturating_sub(timing.late_ms());
        let later = |since: Moment| since.plus_ms(unheard).min(now).max(since);
        self.missed = self.missed.map(later);
        self.progress = later(self.progress);
    }

    /// This node was stalled for `gap_ms`: it cannot tell who was silent meanwhile, and its links may have to be opened
    /// again before it hears anybody. So the counting starts anew, and later. Once, not at each of several stalls, unless
    /// they are so long that links break.
    fn stalled(&mut self, gap_ms: u64, timing: &Timing, now: Moment) {
        if self.is_doubted() && gap_ms < timing.gone_ms() {
            self.overslept(gap_ms, timing, now);
        } else {
            self.missed = Some(now.plus_ms(timing.suspect_ms * 2));
            self.progress = now;
        }
        self.view = None;
        self.doubted = Some(now);
    }

    /// Whether the peer may have removed this node while it was stalled, and have gone on without it.
    pub const fn is_doubted(&self) -> bool {
        self.doubted.is_some()
    }

    /// Whether no link can be had to a member that counts on, since gossip hears it: it may have run out of file descriptors.
    /// It is suspected before a commit has to wait for it. Newcomers (not `ready`) are busy; they are suspected if a commit
    /// waits in vain.
    #[must_use]
    pub fn is_unreachable(&self, connected: bool, ready: bool, timing: &Timing, now: Moment) -> bool {
        ready && !connected && !self.is_suspected() && self.is_silent(timing, now)
    }

    /// Whether the peer gave no sign of life for as long as it takes to suspect it, while this node was awake.
    pub fn is_silent(&self, timing: &Timing, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= timing.suspect_ms)
    }

    /// Whether the peer is silent for so long that it may be removed, if gossip has lost it, too.
    pub fn is_removable(&self, timing: &Timing, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= timing.gone_ms())
    }

    /// Whether the peer is silent for so long that gossip would have removed it, were it gone: it hangs, or only its
    /// link is cut. Nobody waits for its lease any more.
    pub fn is_cut_off(&self, timing: &Timing, now: Moment) -> bool {
        self.missed.is_some_and(|since| now.ms_since(since) >= timing.suspect_ms * CUT_OFF)
    }
}

/// What the rules look at of a peer, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// Commits are acknowledged without it.
    pub left_out: bool,
    /// It is silent, by [`PeerLiveness::is_silent`].
    pub silent: bool,
    /// It is silent for long, by [`PeerLiveness::is_cut_off`].
    pub long_silent: bool,
    /// It is silent for long, and the silence is its own: this node ran meanwhile, and could have heard it. Nobody waits for
    /// its lease.
    pub cut_off: bool,
    /// This node was stalled, and the peer has not said since that it counts this node.
    pub doubted: bool,
    /// The view that it last reported.
    pub view: Option<ViewHash>,
    /// It has reported that view for so long that no lease runs any more that it granted under another one.
    pub view_outlasts_leases: bool,
    /// Until when it may rely on the last lease that this node granted to it.
    pub granted_until: Option<Moment>,
    /// Until when it lets this node answer for its own copies, and under which view; as it last said.
    pub lease: Option<(Moment, ViewHash)>,
}

impl PeerStatus {
    /// Until when the peer lets this node trust its own copies under this view, if it does now.
    #[must_use]
    pub fn leases(&self, view: ViewHash, now: Moment) -> Option<Moment> {
        self.lease.filter(|(until, under)| *under == view && now < *until).map(|(until, _)| until)
    }

    /// Whether the peer may still answer for its own copies under another view than this one: a lease that was granted to
    /// it runs, and it has not reported this view.
    #[must_use]
    pub fn may_serve_locally(&self, view: ViewHash, now: Moment) -> bool {
        self.view != Some(view) && self.granted_until.is_some_and(|until| now < until)
    }

    /// Whether the peer, when it answered last, let this node trust its own copies under this view: it owes it nothing.
    /// Unlike [`PeerStatus::leases`] it holds until the peer says otherwise or the link breaks, however late the answer is
    /// read.
    #[must_use]
    pub fn gave_all(&self, view: ViewHash) -> bool {
        self.lease.is_some_and(|(_, under)| under == view)
    }
}

/// How many times the time to suspicion a peer must be silent to be cut off.
const CUT_OFF: u64 = 10;

/// What a pong says, with this node's own part of it.
#[derive(Clone, Copy, Debug)]
pub struct PongSeen {
    /// When the ping left that it answers, by this node's clock.
    pub sent: Moment,
    /// The peer's view.
    pub view: ViewHash,
    /// This node's own view.
    pub mine: ViewHash,
    /// The peer lets this node answer for its own copies.
    pub granted: bool,
    /// How long the lease lasts: see [`Timing::lease_from`].
    pub lease_ms: u64,
    /// This node owes nothing to the peer.
    pub nothing_owed: bool,
}

#[cfg(test)]
mod tests;
