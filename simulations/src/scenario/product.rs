//! What a run uses of the library beside sessions that are created, read, written, renewed and ended. Most runs use none of it.

use serde::{Deserialize, Serialize};

/// What visitors do beside what [`super::Mix`] says, as weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extra {
    /// List the sessions of their user.
    pub list: u32,
    /// End all sessions of their user.
    pub end_all: u32,
    /// End all sessions of their user but the one that they use.
    pub end_others: u32,
    /// Read, wait, and touch the session.
    pub touch: u32,
    /// Read, wait, and write the value that was read again.
    pub rewrite: u32,
    /// Read what the node holds.
    pub held: u32,
    /// Renew the id with a handle that was kept for a while.
    pub late_renew: u32,
    /// Write a value that is larger than allowed.
    pub too_large: u32,
    /// Move the session to the node that serves it, or read it under the id from before that.
    pub move_home: u32,
}

impl Extra {
    /// All weights together.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.weights().into_iter().fold(0, u32::saturating_add)
    }

    /// All weights, in their order.
    #[must_use]
    pub fn weights(&self) -> [u32; 9] {
        let Self { list, end_all, end_others, touch, rewrite, held, late_renew, too_large, move_home } = *self;
        [list, end_all, end_others, touch, rewrite, held, late_renew, too_large, move_home]
    }
}

/// Settings of the library, and ways to use it, that most runs do without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Product {
    /// Each login is one of so many users; 0 for no users, and no index of them.
    pub users: usize,
    /// Sessions that a user may have; 0 for any number.
    pub sessions_per_user: u32,
    /// Some sessions have an idle limit of their own.
    pub own_limits: bool,
    /// The nodes are in so many zones, one after the other; 0 for no zones.
    pub zones: usize,
    /// A node that starts again uses another secret than in its first life. Both understand both.
    pub rotation: bool,
    /// A node that starts again has another port.
    pub moved_ports: bool,
    /// How long ends are remembered; 0 for the default of the library.
    pub retention_ms: u64,
    /// At so many sessions a node creates no more; 0 for the default of the library.
    pub max_sessions: u64,
    /// So large may a value be; 0 for the default of the library.
    pub max_value_bytes: u32,
    /// Of a thousand requests, so many are dropped before they are answered.
    pub hang_ups: u32,
    /// Of a hundred logins, so many use a record store.
    pub records: u32,
    /// Of a hundred requests, so many are one of `mix`.
    pub share: u32,
    /// Which.
    pub mix: Extra,
}

impl Product {
    /// Whether it is what runs use without saying so.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    ///
    /// It cannot be played: the text says why.
    pub fn validate(&self) -> Result<(), String> {
        let demand = |holds: bool, why: &str| if holds { Ok(()) } else { Err(format!("product: {why}")) };
        demand(self.share <= 100, "share counts hundredths")?;
        demand(self.records <= 100, "records counts hundredths")?;
        demand(self.hang_ups <= 1_000, "hang_ups counts thousandths")?;
        demand(self.share == 0 || self.mix.sum() > 0, "share needs a mix")?;
        demand(self.users > 0 || self.sessions_per_user == 0, "sessions_per_user needs users")?;
        let Extra { list, end_all, end_others, .. } = self.mix;
        demand(self.users > 0 || list + end_all + end_others == 0, "list, end_all and end_others need users")?;
        demand(self.max_value_bytes > 0 || self.mix.too_large == 0, "too_large needs max_value_bytes")?;
        demand(self.retention_ms == 0 || self.retention_ms >= 60_000, "retention_ms is a minute at least")
    }
}
