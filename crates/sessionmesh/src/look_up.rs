//! What became of an id.

use std::time::Duration;

use crate::engine::read::Found;
use crate::session::Session;

/// What happened to an id: see [`crate::Mesh::look_up`].
#[derive(Debug)]
#[non_exhaustive]
pub enum LookUp {
    /// The id has a session, perhaps under a new id: see [`Session::id`].
    Live(Session),
    /// The id was renewed, as at a login. The session continues under a new id, which is not disclosed here. (Or the id
    /// was moved more than a minute ago.)
    Renewed {
        /// How long ago, in whole milliseconds, as far as this node knows.
        ago: Duration,
    },
    /// The id has no session: it ended, never existed, or is forgotten.
    Nothing,
}

impl LookUp {
    pub(crate) const fn of_ended(found: &Found) -> Self {
        match found {
            Found::Renewed { ago_ms, .. } => Self::Renewed { ago: Duration::from_millis(*ago_ms) },
            Found::Live(_) | Found::Moved(_) | Found::Ended | Found::Nothing => Self::Nothing,
        }
    }
}
