//! Memory for messages that are still arriving: bounded for all connections together, and little of it for strangers.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// What each connection may hold without asking, in bytes. Most messages are smaller.
pub(crate) const FREE_BYTES: usize = 16 << 10;
/// Frames of members that may be arriving at once; a frame has at most 256 KiB.
const FRAMES_MAX: usize = 256;
/// The same of connections that are no member's, all together.
const STRANGERS_FRAMES_MAX: usize = 32;
/// Messages of several frames that may be arriving at once, from members only; a message has at most 64 MiB.
const LARGE_MAX: usize = 3;

/// What all connections of a node share.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) frames: Arc<Semaphore>,
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) large: Arc<Semaphore>,
}

impl Default for Inbox {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { frames: semaphore(FRAMES_MAX), strangers: semaphore(STRANGERS_FRAMES_MAX), large: semaphore(LARGE_MAX) }
    }
}
