//! What must be so when all has settled.

use super::{Checker, LOST_SESSION, Op, SAME, STAYS_ENDED, Said, Shown};
use crate::clock::Ms;

impl Checker {
    /// What is wrong with the answers of all nodes about one session, although all has settled. `judge` counts and reports
    /// it; else another look may follow.
    pub(crate) fn judge_settled(&mut self, session: usize, answers: &[Op], judge: bool) -> bool {
        let (mut before, known) = (self.judged.clone(), self.violations.len());
        self.compare(session, answers);
        let kept = self.violations.len() == known;
        if !judge && !kept {
            self.violations.truncate(known);
            std::mem::swap(&mut self.judged, &mut before);
        }
        kept
    }

    fn compare(&mut self, session: usize, answers: &[Op]) {
        let told = |op: &Op| matches!(op.said, Said::None | Said::Done { .. });
        let shown = |op: &Op| match &op.said {
            Said::Done { shown, .. } => shown.clone(),
            _ => None,
        };
        let same = answers.iter().all(told) && answers.windows(2).all(|pair| shown(&pair[0]) == shown(&pair[1]));
        let all = || answers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.demand(SAME, same, Some(session), all());
        for op in answers {
            self.judge_settled_one(op, shown(op).as_ref());
        }
    }

    fn judge_settled_one(&mut self, op: &Op, shown: Option<&Shown>) {
        let (session, world) = (&self.sessions[op.session], &self.world);
        if session.given_up {
            return;
        }
        let safe_login = session.login.as_ref().is_some_and(|login| login.acked.is_some() && world.is_safe(login));
        let ended = session.ends.iter().any(|end| end.acked.is_some() && world.is_safe(end));
        if session.is_alive() && safe_login {
            self.demand(LOST_SESSION, op.said != Said::None, Some(op.session), op.to_string());
        }
        if ended {
            self.demand(STAYS_ENDED, shown.is_none(), Some(op.session), op.to_string());
        }
        if let Some(shown) = shown {
            self.judge_shown(op, shown, true);
        }
    }

    /// All nodes agree on this, and all has settled: what counts from now on.
    pub(crate) fn settle(&mut self, session: usize, said: &Said, now: Ms) {
        let session = &mut self.sessions[session];
        match said {
            Said::Done { shown: Some(shown), .. } => session.settle(shown),
            Said::None if session.may_be_over() => {
                // One that was asked for and not confirmed: all agree that it was made.
                session.over = true;
            }
            Said::None => session.given_up = true,
            _ => {}
        }
        if session.over {
            session.forget();
        }
        session
            .remember(format!("{now}: all has settled: {}", if session.over { "it has ended" } else { "it is there" }));
    }
}
