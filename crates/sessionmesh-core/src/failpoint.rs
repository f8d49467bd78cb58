//! Mistakes that the simulations plant, to prove that they are found.
//!
//! They exist only when the compiler is given `--cfg sessionmesh_simulation`, as in `simulations/.cargo/config.toml`. In every
//! other build [`planted`] is the constant `false`, and nothing is left of the places that call it.
//!
//! What is planted lives in the thread, not in a node: a simulation runs all its nodes on one thread, and each run has a
//! thread of its own. A stress, whose nodes have many, plants in all threads of the process.

#[cfg(sessionmesh_simulation)]
use std::cell::Cell;
#[cfg(sessionmesh_simulation)]
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::table::table;

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
        /// The store is not scanned when the view changes.
        NoScan = "no-scan",
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
        /// A node speaks the newest version that it knows on each link, whatever the other side knows.
        OwnNewestVersion = "own-newest-version",
        /// Sessions stay fenced after the verdict, for ever.
        FencesNeverLifted = "fences-never-lifted",
        /// What a peer reported of its view before this node had its own counts, whatever view the peer has had since.
        OldReportCounts = "old-report-counts",
        /// A scan that was overtaken after its last wait stores its older epoch over the newer one.
        OvertakenScanStores = "overtaken-scan-stores",
        /// A commit begins to wait for answers after it has marked the session for sending, so that one may come before.
        WaitAfterMark = "wait-after-mark",
        /// An update reads the session under one lock and stores what it made of it under another one.
        UpdateInTwoLocks = "update-in-two-locks",
    }
}

#[cfg(sessionmesh_simulation)]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = Cell::new(planted_from_the_start());
}

/// What is planted in a thread before anything else is: nothing, but in this crate's own tests what the environment variable
/// `SESSIONMESH_PLANT` names. So it shows whether the tests of a rule find a mistake in it.
#[cfg(sessionmesh_simulation)]
fn planted_from_the_start() -> Option<Bug> {
    let named = if cfg!(test) { std::env::var("SESSIONMESH_PLANT").ok() } else { None };
    named.map(|name| Bug::named(&name).expect("SESSIONMESH_PLANT names a mistake"))
}

/// Plants a mistake in all nodes of this thread, in place of the one planted before.
#[cfg(sessionmesh_simulation)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// What is planted in all threads: its place among all, counted from 1.
#[cfg(sessionmesh_simulation)]
static PLANTED_EVERYWHERE: AtomicUsize = AtomicUsize::new(0);

/// Plants a mistake in all nodes of this process, in place of the one planted before.
#[cfg(sessionmesh_simulation)]
pub fn plant_everywhere(bug: Option<Bug>) {
    PLANTED_EVERYWHERE.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
}

/// Whether this mistake is to be made here.
#[cfg(sessionmesh_simulation)]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug) || PLANTED_EVERYWHERE.load(Ordering::Relaxed) == bug as usize + 1
}

impl Bug {
    /// Those that one thread cannot see: between the two steps that they tear apart nothing waits.
    pub const NEED_THREADS: [Self; 3] = [Self::OvertakenScanStores, Self::WaitAfterMark, Self::UpdateInTwoLocks];
}

/// Whether this mistake is to be made here: never.
#[cfg(not(sessionmesh_simulation))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_the_table_follows_the_order_of_the_variants() {
        for (at, (bug, name, what)) in Bug::ALL.iter().enumerate() {
            assert_eq!((*bug as usize, bug.name(), bug.what(), Bug::named(name)), (at, *name, *what, Some(*bug)));
        }
        assert_eq!(Bug::named("no such bug"), None);
        assert_eq!(Bug::NoScan.what(), "The store is not scanned when the view changes.");
    }

    #[cfg(sessionmesh_simulation)]
    #[test]
    fn a_planted_bug_stays_in_its_thread() {
        plant(Some(Bug::NoScan));
        let other = std::thread::spawn(|| planted(Bug::NoScan));
        assert!(!other.join().expect("it does not panic"));
        assert!(planted(Bug::NoScan) && !planted(Bug::ReadyEarly));
        plant(None);
        assert!(!planted(Bug::NoScan));
    }

    #[cfg(not(sessionmesh_simulation))]
    #[test]
    fn without_the_flag_nothing_is_planted() {
        const { assert!(!planted(Bug::NoScan)) };
    }
}
