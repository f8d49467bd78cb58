//! What became of an id.

use std::time::Duration;

use crate::engine::read::Found;
use crate::session::Session;

/// What became of an id: see [`crate::Mesh::look_up`].
#[derive(Debug)]
#[non_exhaustive]
pub enum LookUp {
    /// It has a session, maybe under another id by now: [`Session::id`].
    Live(Session),
    /// Somebody renewed it, as at a login, so long ago, and the session goes on under an id that is not told here. (Or it
    /// moved, and that is more than a minute ago.)
    Renewed {
        /// How long ago, in whole milliseconds, by what is known here.
        ago: Duration,
    },
    /// It has no session: it ended, was never one, or is forgotten.
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
