//! For the simulations: mistakes that can be planted, to prove that they are found, and rare paths that are counted, to
//! prove that they were taken.
//!
//! All of it exists only when the compiler is given `--cfg sessionmesh_probes`, as in `simulations/.cargo/config.toml`.
//! In every other build [`planted`] is the constant `false`, [`reached`] and [`reached_if`] are empty, and nothing is
//! left of the places that call them.
//!
//! Both live in the thread, not in a node: a simulation runs all its nodes on one thread, and each run has a thread of
//! its own.

#[cfg(sessionmesh_probes)]
use std::cell::{Cell, RefCell};

/// An enum without data and the table of its variants. The doc comment of a variant is also its explanation.
macro_rules! table {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $what:literal])+ $variant:ident = $text:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $what])+ $variant),* }

        impl $name {
            /// All of them in the order of their definition: each with its name and what it is.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $text, concat!($($what),+).trim_ascii())),*];

            /// Its name, in words with hyphens between them.
            #[must_use]
            pub const fn name(self) -> &'static str {
                Self::ALL[self as usize].1
            }

            /// What it is, in one sentence.
            #[must_use]
            pub const fn what(self) -> &'static str {
                Self::ALL[self as usize].2
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(found, _, _)| *found)
            }
        }
    };
}

table! {
    /// A mistake that somebody could have made.
    Bug {
        /// An owner answers from its map though its leases have run out or it was stalled.
        StalledOwnerAnswers = "stalled-owner-answers",
        /// An owner that owes answers is left out of commits at once, while its last lease still lasts.
        LeasesIgnored = "leases-ignored",
        /// A mark is dropped while the same session is on its way to that peer.
        MarkDropped = "mark-dropped",
        /// The answer "I need the whole session" is taken for an acknowledgement, and nothing is sent again.
        NeedsWholeForgotten = "needs-whole-forgotten",
        /// A node that is no owner drops its copy without asking whether the owners keep it.
        LetGoWithoutKept = "let-go-without-kept",
        /// Of two values that two nodes wrote to one attribute that with the smaller stamp wins.
        StampsBackwards = "stamps-backwards",
        /// Of two values of one attribute that wins which arrives last, whatever the stamps.
        LastArrivalWins = "last-arrival-wins",
        /// New stamps are made from the node's wall clock, and what other nodes' stamps say is ignored.
        WallClockStamps = "wall-clock-stamps",
        /// A write with a later stamp brings a session back that was ended for good.
        WriteRevivesEnded = "write-revives-ended",
        /// What is handed over or repaired are the sessions only, not the tombstones.
        TombstonesLeftBehind = "tombstones-left-behind",
        /// A delta is merged onto a base that it does not fit.
        UnfitDeltaMerged = "unfit-delta-merged",
        /// A receiver answers "kept" at once and merges a little later.
        KeptBeforeMerge = "kept-before-merge",
        /// A commit returns when one of the owners that it waits for has not answered.
        OneOwnerFewer = "one-owner-fewer",
        /// A commit counts owners that answered under another view.
        AcksUnderAnyView = "acks-under-any-view",
        /// Owners under the view before are not waited for, though their leases run.
        DisplacedForgotten = "displaced-forgotten",
        /// A node that was stalled does not wait for those that may have gone on without it.
        DoubtForgotten = "doubt-forgotten",
        /// A commit counts answers to what was sent before it was made.
        AnswerToEarlierSend = "answer-to-earlier-send",
        /// A commit waits beyond its deadline.
        DeadlineIgnored = "deadline-ignored",
        /// The store is not walked when the view changes.
        NoWalk = "no-walk",
        /// A node places sessions as its own settings say, whatever those of the other members do.
        OwnMode = "own-mode",
        /// A newcomer says that it is ready before it was given all.
        ReadyEarly = "ready-early",
        /// "Nothing" from one owner is believed at once, whatever it may have missed.
        MissBelieved = "miss-believed",
        /// "No such session" is said though more members vanished than there are copies.
        VanishedForgotten = "vanished-forgotten",
        /// A read takes one owner's word that a session is past its limit, though another one may have seen it used.
        LimitByOneOwner = "limit-by-one-owner",
        /// A read past silent owners serves what a node holds only to pass it on.
        AnyCopyVouches = "any-copy-vouches",
        /// A vote that was refused leaves the others fenced until the fence falls by itself.
        RefusalNotTold = "refusal-not-told",
        /// Backups end idle sessions, too.
        ExpireOnBackup = "expire-on-backup",
        /// An owner agrees to the end of a session that it saw used within the limit, if only a little later than the primary.
        VoteTooSoon = "vote-too-soon",
        /// An owner agrees to the end of a session whoever asks, even if it has ended.
        VoteForAnyone = "vote-for-anyone",
        /// What had waited in the sockets of a stalled node counts as an access at the moment it is read.
        LateAccessCounts = "late-access-counts",
        /// The primary ends idle sessions without asking the other owners.
        ExpireWithoutVote = "expire-without-vote",
        /// Accesses are not passed on to the other owners.
        AccessNotPassedOn = "access-not-passed-on",
        /// Every owner tells the event of a session's end.
        EventOnEveryOwner = "event-on-every-owner",
        /// What was written on the renewing node itself while it made the new session is not followed into it.
        RenewalDropsOwnWrites = "renewal-drops-own-writes",
        /// A write that was under way to an id when it was renewed is not followed into the successor.
        RenewalForgetsLateWrites = "renewal-forgets-late-writes",
        /// A node that leaves does not wait until the others hold what it held.
        LeaveWithoutWaiting = "leave-without-waiting",
        /// Sessions stay fenced after the verdict, for ever.
        FencesNeverLifted = "fences-never-lifted",
    }
}

table! {
    /// A path that is taken only when something rare happens.
    Path {
        /// A receiver could not use a delta and needed the whole session.
        NeedsWhole = "needs-whole",
        /// A receiver held a session only to pass it on.
        Passing = "passing",
        /// A receiver held something that the sender lacked, and sent it back.
        NewerSentBack = "newer-sent-back",
        /// An owner kept a session under another view while a commit waited; it is asked again when the views agree.
        KeptUnderOtherView = "kept-under-other-view",
        /// A link broke with batches under way.
        LinkBrokeUnderWay = "link-broke-under-way",
        /// A read was answered by one owner while another was silent.
        ReadPastSilentOwner = "read-past-silent-owner",
        /// A copy was served though others who may know better were silent for long: a partition.
        PartitionRead = "partition-read",
        /// A copy was served though nobody who was asked was current.
        ReadFromNobodyCurrent = "read-from-nobody-current",
        /// A miss could not be told, because more members vanished than there are copies.
        TooManyVanished = "too-many-vanished",
        /// A miss was believed after all owners were asked.
        MissTold = "miss-told",
        /// A read reached its deadline and said that it cannot tell.
        CannotTell = "cannot-tell",
        /// A lease was withheld from a peer that owed answers.
        LeaseWithheld = "lease-withheld",
        /// A lease was withheld from a peer that was still owed something.
        LeaseWithheldOwed = "lease-withheld-owed",
        /// A node noticed that it was stalled itself.
        StallNoticed = "stall-noticed",
        /// A node left while all others were leaving, too.
        AllLeave = "all-leave",
        /// Two requests renewed one session at the same time, and each has its own now.
        RenewedTwice = "renewed-twice",
        /// The primary heard of a later access while it asked whether a session may end.
        Reprieved = "reprieved",
        /// A suspected owner was left out after its last lease had run out.
        OwnerLeftOut = "owner-left-out",
        /// A commit was confirmed with the help of a stand-in.
        StandInConfirmed = "stand-in-confirmed",
        /// A suspected peer was trusted again.
        TrustedAgain = "trusted-again",
        /// A commit reached its deadline.
        CommitTimedOut = "commit-timed-out",
        /// A strict commit was refused, because there is no other node.
        StrictAlone = "strict-alone",
        /// A commit that waited was aimed at the owners of a new view.
        CommitReaimed = "commit-reaimed",
        /// A commit waited for an owner under an earlier view, whose lease ran.
        DisplacedAwaited = "displaced-awaited",
        /// A connection was refused, and the member was removed at once.
        RefusedRemoved = "refused-removed",
        /// A member's port refused connections, but gossip still heard it, so it was suspected.
        RefusedButHeard = "refused-but-heard",
        /// A member came back as another incarnation without having been away.
        QuickRestart = "quick-restart",
        /// Two incarnations of one name were heard as alive at once.
        TwoIncarnations = "two-incarnations",
        /// A starting node chose a larger incarnation than its clock says, since a larger one was known.
        ClockSetBack = "clock-set-back",
        /// A member was removed and came back as the same incarnation, with the copies it had.
        ReturnedAfterCut = "returned-after-cut",
        /// A node that was cut off for too long discarded its copies and joined anew.
        CopiesDiscarded = "copies-discarded",
        /// A write came after the end of its session and was absorbed.
        LateSaveAbsorbed = "late-save-absorbed",
        /// What was written late to an id that had been renewed was merged into its successor.
        LateWritePoured = "late-write-poured",
        /// A commit found the id renewed and went to the successor.
        CommitFollowedRenewal = "commit-followed-renewal",
        /// Two ends of one session met, and the losing renewal was folded into the winner.
        RenewalsFolded = "renewals-folded",
        /// An owner voted against the expiry of a session.
        ExpiryRefused = "expiry-refused",
        /// The primary gave up an expiry, since an owner was silent or the view changed.
        ExpiryPutOff = "expiry-put-off",
        /// A commit waited for the verdict on the expiry of its session.
        FenceWaited = "fence-waited",
        /// An expired session was revived by a use that came later.
        ExpiredRevived = "expired-revived",
        /// A backup dropped a live copy of which no primary had spoken for twice the idle limit.
        GuardDropped = "guard-dropped",
        /// An audit found a difference.
        AuditDifference = "audit-difference",
        /// A walk was interrupted by another change of the view.
        WalkInterrupted = "walk-interrupted",
        /// Members of a view differed in settings that they should have alike.
        SettingsDiffer = "settings-differ",
        /// "Kept" came under an older view and did not count for letting go.
        KeptTooLate = "kept-too-late",
        /// A copy was let go after all owners kept it.
        LetGo = "let-go",
        /// A copy was not let go, because it was used while the owners answered.
        UsedWhileLettingGo = "used-while-letting-go",
        /// A leaving node reached its deadline with sessions left.
        LeaveTimedOut = "leave-timed-out",
        /// A newcomer became ready without a donor that was silent for long.
        DonorSkipped = "donor-skipped",
        /// A newcomer became ready with sessions that it had received.
        ReadyWithSessions = "ready-with-sessions",
    }
}

#[cfg(sessionmesh_probes)]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = Cell::new(planted_from_the_start());
    static REACHED: RefCell<[u64; Path::ALL.len()]> = const { RefCell::new([0; Path::ALL.len()]) };
}

/// What is planted in a thread before anything else is: nothing, but in this crate's own tests what the environment variable
/// `SESSIONMESH_PLANT` names. So it shows whether the tests of a rule find a mistake in it.
#[cfg(sessionmesh_probes)]
fn planted_from_the_start() -> Option<Bug> {
    let named = if cfg!(test) { std::env::var("SESSIONMESH_PLANT").ok() } else { None };
    named.map(|name| Bug::named(&name).expect("SESSIONMESH_PLANT names a mistake"))
}

/// Plants a mistake in all nodes of this thread, in place of the one planted before.
#[cfg(sessionmesh_probes)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this mistake is to be made here.
#[cfg(sessionmesh_probes)]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this mistake is to be made here: never.
#[cfg(not(sessionmesh_probes))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Counts that this path was taken.
#[cfg(sessionmesh_probes)]
pub fn reached(path: Path) {
    REACHED.with_borrow_mut(|counts| counts[path as usize] += 1);
}

/// Counts that this path was taken: not in this build.
#[cfg(not(sessionmesh_probes))]
#[inline(always)]
pub const fn reached(_: Path) {}

/// Counts that this path was taken if `taken` says so, which is only asked in the simulations.
#[cfg(sessionmesh_probes)]
pub fn reached_if(path: Path, taken: impl FnOnce() -> bool) {
    if taken() {
        reached(path);
    }
}

/// Counts that this path was taken if `taken` says so: not in this build, and `taken` is not asked.
#[cfg(not(sessionmesh_probes))]
#[inline(always)]
pub fn reached_if(_: Path, _: impl FnOnce() -> bool) {}

/// How often each path of [`Path::ALL`] was taken on this thread since this was called last.
#[cfg(sessionmesh_probes)]
#[must_use]
pub fn take_reached() -> [u64; Path::ALL.len()] {
    REACHED.replace([0; Path::ALL.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_tables_follow_the_order_of_the_variants() {
        for (at, (bug, name, what)) in Bug::ALL.iter().enumerate() {
            assert_eq!((*bug as usize, bug.name(), bug.what(), Bug::named(name)), (at, *name, *what, Some(*bug)));
        }
        for (at, (path, name, what)) in Path::ALL.iter().enumerate() {
            assert_eq!((*path as usize, path.name(), path.what(), Path::named(name)), (at, *name, *what, Some(*path)));
        }
        assert_eq!(Bug::named("no such bug"), None);
        assert_eq!(Bug::NoWalk.what(), "The store is not walked when the view changes.");
    }

    #[cfg(sessionmesh_probes)]
    #[test]
    fn a_planted_bug_and_the_paths_reached_stay_in_their_thread() {
        plant(Some(Bug::NoWalk));
        reached(Path::LetGo);
        reached_if(Path::LetGo, || true);
        reached_if(Path::Passing, || false);
        let other = std::thread::spawn(|| (planted(Bug::NoWalk), take_reached()));
        assert_eq!(other.join().expect("it does not panic"), (false, [0; Path::ALL.len()]));
        assert!(planted(Bug::NoWalk) && !planted(Bug::ReadyEarly));
        let counts = take_reached();
        assert_eq!((counts[Path::LetGo as usize], counts.iter().sum::<u64>()), (2, 2));
        assert_eq!(take_reached(), [0; Path::ALL.len()]);
        plant(None);
        assert!(!planted(Bug::NoWalk));
    }

    #[cfg(not(sessionmesh_probes))]
    #[test]
    fn without_the_flag_nothing_is_planted_and_nothing_counted() {
        const { assert!(!planted(Bug::NoWalk)) };
        reached(Path::LetGo);
        reached_if(Path::LetGo, || unreachable!("it is not asked"));
    }
}
