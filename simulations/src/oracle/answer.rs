//! What holds of every answer, whatever it says of the session: it comes in time, in a long calm it is given, and no
//! number is counted twice.

use super::copies::SAVED;
use super::{Checked, Did, Oracle, Reply, Request, Seen, UsersTold, What, violated};

/// The deadlines of commits and loads.
pub(super) const DEADLINE_MS: u64 = 500;
/// After so long a calm every request must succeed.
const LONG_CALM_MS: u64 = 3_000;

impl Oracle {
    pub(super) fn check_times(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        if self.world.frozen_since(request.node, request.start_ms) {
            // Its clock went on while it did not.
            return Ok(());
        }
        self.count("checked: deadline");
        let allowed = match request.what {
            // It is looked for, ended, made anew, and what was between is ended.
            _ if request.is_record => 4 * DEADLINE_MS,
            // It reads what the session has become meanwhile, keeps the new one, and ends the old one. Reads have as long.
            What::Renew | What::Move => 3 * DEADLINE_MS,
            // All nodes are asked, and then the sessions that they know of are read.
            What::List => 2 * DEADLINE_MS,
            // Each of four rounds finds out about the one to keep, makes a list, and ends what is in it.
            What::EndAll | What::EndOthers => 4 * 4 * DEADLINE_MS,
            _ => DEADLINE_MS,
        };
        self.judge("no commit takes longer than its deadline");
        if reply.took_ms > allowed + self.rules.slack_ms {
            let detail = format!("{} ms: {request:?} {reply:?}", reply.took_ms);
            return violated("no commit takes longer than its deadline", detail, now_ms);
        }
        if request.is_record {
            // A record store reads more than the one session, and promises no time.
            return Ok(());
        }
        if reply.seen.is_some() {
            self.judge("no load takes longer than its deadline");
        }
        match &reply.seen {
            Some((_, took)) if *took > DEADLINE_MS + self.rules.slack_ms => {
                let detail = format!("{took} ms: {request:?}");
                violated("no load takes longer than its deadline", detail, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// In a long calm everything works.
    pub(super) fn check_available(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let calm = self.works_since(request.start_ms);
        if calm {
            self.judge("in calm every request succeeds");
        }
        let what = match (&reply.seen, &reply.did) {
            (Some((Seen::CannotTell(why), _)), _) => {
                self.count("cannot tell");
                format!("cannot tell: {why}")
            }
            (_, Did::Unconfirmed(_, why)) if !why.contains("strict") && why != SAVED => {
                self.count("unconfirmed");
                format!("not confirmed: {why}")
            }
            _ if let Some(UsersTold::CannotTell { why, .. }) = &reply.users => format!("cannot tell: {why}"),
            _ => {
                self.count(if calm { "checked: works in calm" } else { "answered in unrest" });
                return Ok(());
            }
        };
        if calm { violated("in calm every request succeeds", format!("{what}: {request:?}"), now_ms) } else { Ok(()) }
    }

    /// Whether everything must have worked since then, and some time before.
    pub(super) fn works_since(&self, start_ms: u64) -> bool {
        let since = start_ms.saturating_sub(LONG_CALM_MS);
        self.world.calm_from(since) && self.world.trusting_from(since) && !self.is_blind()
    }

    /// More nodes died than there are copies, or half of the others, or all that stayed when others left: those that are left cannot
    /// tell what they held.
    pub(super) fn is_blind(&self) -> bool {
        let half = (self.rules.nodes.saturating_sub(1) / 2).max(1);
        let crashed = self.world.crashed_together();
        crashed > self.rules.spare.min(half) || self.world.fewest_stayed().is_some_and(|stayed| crashed >= stayed)
    }

    /// While all count on one owner, no number comes twice.
    pub(super) fn check_count(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let was_made = reply.counted.is_some() || matches!(reply.did, Did::Unconfirmed(..));
        if request.what != What::Count || !was_made {
            return Ok(());
        }
        let here = (request.node, request.life);
        let login = &mut self.logins[request.login];
        // Only an owner holds the session all the time.
        login.counted_elsewhere |= !request.holders.contains(&here);
        login.counted_elsewhere |= login.counted.1.is_some_and(|place| place != here);
        let (largest, _) = login.counted;
        let elsewhere = login.counted_elsewhere;
        login.counted = (largest.max(reply.counted.unwrap_or(0)), Some(here));
        let Some(number) = reply.counted.filter(|_| !elsewhere) else { return Ok(()) };
        self.count("checked: atomic update");
        self.judge("an update in one step loses none on its node");
        if number > largest {
            return Ok(());
        }
        // Answers may overtake each other, so equality is what is wrong.
        if number == largest {
            let detail = format!("{number} twice: {request:?}");
            return violated("an update in one step loses none on its node", detail, now_ms);
        }
        Ok(())
    }
}
