//! What visitors do in some runs only.

use rand::Rng as _;

use super::{Clients, KEPT_MS_MAX, choose_weighted};
use crate::oracle::{Oracle, SHARED, What};

/// For so long a visitor waits at most who does not wait for the answer: about as long as commits take, so that often the first
/// half of something is done.
const PATIENCE_MS_MAX: u64 = 60;

impl Clients {
    /// A login of one of the users, if there are any.
    pub(super) fn new_login(&mut self, oracle: &mut Oracle) -> usize {
        let records = self.product.records;
        if records > 0 && self.rng.random_range(0..100) < records {
            return oracle.login_with_records();
        }
        let users = self.product.users;
        let user = if users > 0 { Some(self.rng.random_range(0..users)) } else { None };
        let own_limit = self.product.own_limits && self.rng.random_bool(0.5);
        let idle_ms = if own_limit { Some(self.idle_ms * self.rng.random_range(5..20) / 10) } else { None };
        oracle.login_as_user(user, idle_ms)
    }

    /// A request of those that only some runs have; none for one of the usual ones.
    pub(super) fn choose_extra(
        &mut self,
        (at, tab): (usize, usize),
        late: Option<usize>,
        value: u64,
        moved: bool,
    ) -> Option<What> {
        let weights = self.product.mix.weights();
        if self.product.share == 0 || self.rng.random_range(0..100) >= self.product.share {
            return None;
        }
        let chosen = choose_weighted(&mut self.rng, &weights)?;
        let visitor = &self.visitors[at];
        let ending = late.is_some() || visitor.is_busy_with(|what| what == What::Logout);
        let renewing = visitor.is_busy_with(What::gives_id);
        Some(match chosen {
            0 => What::List,
            1 => What::EndAll,
            2 => What::EndOthers,
            3 => What::Touch,
            4 if self.rng.random_bool(0.5) => What::Rewrite(SHARED),
            4 => What::Rewrite(tab),
            5 => What::Held,
            6 if !ending && (!renewing || self.rng.random_bool(0.8)) => What::Renew,
            7 => What::TooLarge(value),
            8 if moved && self.rng.random_bool(0.5) => What::ReadMoved,
            8 if !ending && !renewing => What::Move,
            _ => What::Read,
        })
    }

    /// For how long a handle is kept before it is used.
    pub(super) fn choose_pause(&mut self, what: What) -> u64 {
        let kept = match what {
            What::Touch | What::Rewrite(_) => true,
            What::Renew => self.product.mix.late_renew > 0,
            _ => false,
        };
        if kept && self.rng.random_bool(0.7) {
            // Some are kept for longer than the session may be idle.
            self.rng.random_range(10..KEPT_MS_MAX.min(self.idle_ms * 12 / 10))
        } else {
            0
        }
    }

    /// After how long a visitor does not wait any more; none for one who waits.
    pub(super) fn choose_patience(&mut self) -> Option<u64> {
        let hang_ups = self.product.hang_ups;
        let hangs_up = hang_ups > 0 && self.rng.random_range(0..1_000) < hang_ups;
        if hangs_up { Some(self.rng.random_range(1..PATIENCE_MS_MAX)) } else { None }
    }
}
