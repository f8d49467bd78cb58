//! Rare paths that the simulations count, to prove that they were taken.
//!
//! They are counted only when the compiler is given `--cfg sessionmesh_simulation`, as in `simulations/.cargo/config.toml`. In
//! every other build [`reached`] and [`reached_if`] are empty, and nothing is left of the places that call them.
//!
//! The counts live in the thread, not in a node: a simulation runs all its nodes on one thread, and each run has a thread of
//! its own.

#[cfg(sessionmesh_simulation)]
use std::cell::RefCell;

use crate::table::table;

table! {
    /// A path that is taken only when something rare happens.
    Path {
        /// A receiver could not use a delta and needed the whole session.
        NeedsWhole = "needs-whole",
        /// A receiver held a session only to pass it on.
        Passing = "passing",
        /// An owner got news from somebody who is not in its view, and told the other owners.
        FromOutside = "from-outside",
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
        /// A link spoke an older version of the protocol than one of its nodes knows.
        OlderVersionSpoken = "older-version-spoken",
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
        /// A suspected peer was reinstated.
        Reinstated = "reinstated",
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
        ExpiryHoldWaited = "expiry-hold-waited",
        /// An expired session was revived by a use that came later.
        ExpiredRevived = "expired-revived",
        /// A backup dropped a live copy of which no primary had spoken for twice the idle limit.
        GuardDropped = "guard-dropped",
        /// An audit found a difference.
        AuditDifference = "audit-difference",
        /// An audit found a difference that nothing under way explains, between two members that had joined.
        AuditRepair = "audit-repair",
        /// A hand-off scan was interrupted by another change of the view.
        ScanInterrupted = "scan-interrupted",
        /// Members of a view differed in settings that they should have alike.
        SettingsDiffer = "settings-differ",
        /// "Kept" came under an older view and did not count for letting go.
        KeptTooLate = "kept-too-late",
        /// A copy was let go after all owners kept it.
        CopyDropped = "copy-dropped",
        /// A copy was not let go, because it was used while the owners answered.
        UsedWhileHandedOff = "used-while-handed-off",
        /// A leaving node reached its deadline with sessions left.
        LeaveTimedOut = "leave-timed-out",
        /// A newcomer became ready without a donor that was silent for long.
        DonorSkipped = "donor-skipped",
        /// A newcomer became ready with sessions that it had received.
        ReadyWithSessions = "ready-with-sessions",
    }
}

#[cfg(sessionmesh_simulation)]
thread_local! {
    static REACHED: RefCell<[u64; Path::ALL.len()]> = const { RefCell::new([0; Path::ALL.len()]) };
}

/// Counts that this path was taken.
#[cfg(sessionmesh_simulation)]
#[track_caller]
pub fn reached(path: Path) {
    crate::interleave::point();
    REACHED.with_borrow_mut(|counts| counts[path as usize] += 1);
}

/// Counts that this path was taken: not in this build.
#[cfg(not(sessionmesh_simulation))]
#[inline(always)]
pub const fn reached(_: Path) {}

/// Counts that this path was taken if `taken` says so, which is only asked in the simulations.
#[cfg(sessionmesh_simulation)]
#[track_caller]
pub fn reached_if(path: Path, taken: impl FnOnce() -> bool) {
    if taken() {
        reached(path);
    }
}

/// Counts that this path was taken if `taken` says so: not in this build, and `taken` is not asked.
#[cfg(not(sessionmesh_simulation))]
#[inline(always)]
pub fn reached_if(_: Path, _: impl FnOnce() -> bool) {}

/// How often each path of [`Path::ALL`] was taken on this thread since this was called last.
#[cfg(sessionmesh_simulation)]
#[must_use]
pub fn take_reached() -> [u64; Path::ALL.len()] {
    REACHED.replace([0; Path::ALL.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_the_table_follows_the_order_of_the_variants() {
        for (at, (path, name, what)) in Path::ALL.iter().enumerate() {
            assert_eq!((*path as usize, path.name(), path.what(), Path::named(name)), (at, *name, *what, Some(*path)));
        }
    }

    #[cfg(sessionmesh_simulation)]
    #[test]
    fn the_paths_reached_stay_in_their_thread() {
        reached(Path::CopyDropped);
        reached_if(Path::CopyDropped, || true);
        reached_if(Path::Passing, || false);
        let other = std::thread::spawn(take_reached);
        assert_eq!(other.join().expect("it does not panic"), [0; Path::ALL.len()]);
        let counts = take_reached();
        assert_eq!((counts[Path::CopyDropped as usize], counts.iter().sum::<u64>()), (2, 2));
        assert_eq!(take_reached(), [0; Path::ALL.len()]);
    }

    #[cfg(not(sessionmesh_simulation))]
    #[test]
    fn without_the_flag_nothing_is_counted() {
        reached(Path::CopyDropped);
        reached_if(Path::CopyDropped, || unreachable!("it is not asked"));
    }
}
