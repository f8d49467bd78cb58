//! What visitors lost, whatever was promised to them: for systems that are compared.

use std::collections::BTreeSet;

use super::{Checker, Op, Said};

/// What visitors lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    /// Writes that were acknowledged, in sessions whose end nobody asked for.
    pub(crate) writes: usize,
    /// Of these, those that no answer shows in the end.
    pub(crate) writes_lost: usize,
    /// Those that only some nodes show in the end.
    pub(crate) writes_uneven: usize,
    /// Logouts that were acknowledged.
    pub(crate) logouts: usize,
    /// Of these, those whose session is served in the end.
    pub(crate) logouts_undone: usize,
    /// Logins that were acknowledged.
    pub(crate) logins: usize,
    /// Of these, those that were told "none" although nobody had asked for their end.
    pub(crate) logged_out: usize,
}

impl Checker {
    /// Adds what the answers of all nodes say in the end about one session.
    pub(crate) fn count_losses(&self, session: usize, answers: &[Op], losses: &mut Losses) {
        let state = &self.sessions[session];
        if state.login.as_ref().is_none_or(|login| login.acked.is_none()) {
            return;
        }
        losses.logins += 1;
        let shown = answers.iter().map(|op| match &op.said {
            Said::Done { shown: Some(shown), .. } => shown.numbers.clone(),
            _ => BTreeSet::new(),
        });
        let shown: Vec<BTreeSet<u64>> = shown.collect();
        let served = answers.iter().any(|op| matches!(op.said, Said::Done { .. }));
        if state.is_ended() {
            losses.logouts += 1;
            losses.logouts_undone += usize::from(served);
        }
        if state.may_be_over() {
            return;
        }
        losses.logged_out += usize::from(state.logged_out || !served);
        for (number, _) in state.writes.iter().filter(|(_, write)| write.change.acked.is_some()) {
            losses.writes += 1;
            match shown.iter().filter(|shown| shown.contains(number)).count() {
                0 => losses.writes_lost += 1,
                some if some < shown.len() => losses.writes_uneven += 1,
                _ => {}
            }
        }
    }
}
