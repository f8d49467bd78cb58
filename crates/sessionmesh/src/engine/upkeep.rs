//! What a node does by itself: finding others, computing views, joining, handing off, comparing copies, ending idle sessions,
//! leaving.

pub(crate) mod anti_entropy;
pub(crate) mod certificates;
mod differences;
pub(crate) mod expire;
pub(crate) mod figures;
mod followed;
mod handoff_scan;
pub(crate) mod leave;
pub(crate) mod monitor;
mod other_versions;
pub(crate) mod ready;
pub(crate) mod search;
pub(crate) mod secrets;
pub(crate) mod view_task;
