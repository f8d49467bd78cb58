//! What a test asks of a node.

use std::time::Duration;

use sessionmesh::SessionId;
use tokio::time::Instant;

use super::Process;
use crate::processes::control::{Attributes, Done, Figures, Loaded, Request, Seen, Wish};
use crate::waiting::{PATIENCE, check, eventually_blocking};

/// For so long a survivor may be unable to tell, on a machine that is busy with other things.
const UNCLEAR_MAX: Duration = Duration::from_secs(20);

impl Process {
    /// Waits until the node is ready. Its figures at that moment.
    pub fn ready(&self) -> Figures {
        self.ask(&Request::Ready)
    }

    /// Whether the node is ready.
    pub fn is_ready(&self) -> bool {
        self.ask(&Request::IsReady)
    }

    /// The members that the node sees.
    pub fn members(&self) -> Vec<Seen> {
        self.ask(&Request::Members)
    }

    /// The names of the members that the node sees.
    pub fn member_names(&self) -> Vec<String> {
        self.members().into_iter().map(|seen| seen.name).collect()
    }

    /// The figures of the node.
    pub fn stats(&self) -> Figures {
        self.ask(&Request::Stats)
    }

    /// Creates sessions, and waits until each has its copies.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn create(&self, sessions: Vec<Attributes>, ack: Wish) -> Vec<SessionId> {
        self.copied(self.ask(&Request::Create { sessions, ack }))
    }

    /// Creates one session.
    pub fn create_one(&self, attributes: Attributes) -> SessionId {
        self.create(vec![attributes], Wish::Configured)[0]
    }

    /// Creates sessions with a value of this length.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn fill(&self, sessions: usize, value_bytes: usize) -> Vec<SessionId> {
        self.copied(self.ask(&Request::Fill { sessions, value_bytes }))
    }

    /// The sessions that were changed on this node, once all changes have their copies. One that was not confirmed in time,
    /// as happens on a busy machine, goes on replicating and is waited for.
    ///
    /// # Panics
    ///
    /// When one was not made.
    pub fn copied(&self, done: Vec<Done>) -> Vec<SessionId> {
        if done.iter().any(|done| done.acknowledged().is_none()) {
            eventually_blocking(PATIENCE, || {
                let outbox = self.stats().outbox;
                check(outbox == 0, || format!("{} still has {outbox} sessions to send", self.name()))
            });
        }
        let id = |done| match done {
            Done::Acknowledged(id, _) => id,
            Done::Failed(id, why) if why.ends_with("it continues to replicate") => id,
            failed @ Done::Failed(..) => panic!("not made: {failed:?}"),
        };
        done.into_iter().map(id).collect()
    }

    /// Loads sessions.
    pub fn load(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.ask(&Request::Load(ids.to_vec()))
    }

    /// Loads one session.
    pub fn load_one(&self, id: SessionId) -> Loaded {
        self.load(&[id]).remove(0)
    }

    /// Loads sessions until each is what it should be, and says how many were not at the first try. "Cannot tell" is
    /// asked again, for `UNCLEAR_MAX`; any other answer is wrong at once.
    ///
    /// # Panics
    ///
    /// When an answer is wrong, or it still cannot tell.
    #[track_caller]
    pub fn serves(&self, ids: &[SessionId], expected: &[Loaded]) -> usize {
        let start = Instant::now();
        let mut left: Vec<usize> = (0..ids.len()).collect();
        let mut unclear_at_first = None;
        while !left.is_empty() {
            let asked: Vec<SessionId> = left.iter().map(|at| ids[*at]).collect();
            let loaded = self.load(&asked);
            let pairs = || left.iter().copied().zip(&loaded);
            let is_wrong =
                |(at, loaded): &(usize, &Loaded)| **loaded != expected[*at] && !matches!(loaded, Loaded::CannotTell(_));
            let wrong: Vec<_> = pairs().filter(is_wrong).collect();
            assert!(wrong.is_empty(), "{} serves {} wrongly, first {:?}", self.name(), wrong.len(), wrong.first());
            let unclear: Vec<_> = pairs().filter(|(at, loaded)| **loaded != expected[*at]).collect();
            let late = start.elapsed() > UNCLEAR_MAX;
            assert!(unclear.is_empty() || !late, "{} cannot tell of {}: {:?}", self.name(), unclear.len(), unclear[0]);
            let unclear: Vec<usize> = unclear.into_iter().map(|(at, _)| at).collect();
            unclear_at_first.get_or_insert(unclear.len());
            left = unclear;
        }
        unclear_at_first.unwrap_or_default()
    }

    /// The owners of each session, the primary first.
    pub fn owners(&self, ids: &[SessionId]) -> Vec<Vec<String>> {
        self.ask(&Request::Owners(ids.to_vec()))
    }

    /// The digest of what is held of each session.
    pub fn digests(&self, ids: &[SessionId]) -> Vec<Option<u64>> {
        self.ask(&Request::Digests(ids.to_vec()))
    }

    /// Whether the node reads this session from its own map.
    pub fn reads_at_home(&self, id: SessionId) -> bool {
        let before = self.stats().local_reads;
        self.load_one(id);
        self.stats().local_reads > before
    }
}
