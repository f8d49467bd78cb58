//! What tests of Sessionmesh have in common: [`cluster`]s in the process of a test and [`processes`] of their own, a
//! [`network`] that fails as a test wants it, [`site`]s, their [`browser`]s, and what is between them on the [`web`].
//!
//! Nothing here sleeps for a fixed time: whatever takes time is waited for ([`waiting`]), with a deadline at which a test
//! says what was still wrong.

#[cfg(feature = "certificates")]
pub mod authority;
#[cfg(feature = "web")]
pub mod browser;
pub mod busy;
pub mod cluster;
pub mod gate;
pub mod network;
pub mod observed;
#[cfg(feature = "processes")]
pub mod processes;
pub mod rounds;
#[cfg(feature = "web")]
pub mod site;
pub mod waiting;
#[cfg(feature = "web")]
pub mod web;
