//! Sessions that survive their server, without a session server.
//!
//! Every node of a web application embeds a [`Mesh`]. A node keeps its sessions in its own memory, finds the other
//! nodes by multicast, seeds or DNS, and copies each change to them before the response leaves.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sessionmesh::{Discovery, Mesh};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mesh = Mesh::builder().name("app-1").discovery(Discovery::multicast()).start().await?;
//! mesh.ready().await;
//!
//! let session = mesh.create().await?;
//! session.insert("user", "ada")?;
//! let commit = session.commit().await?;
//! println!("{} other nodes hold it", commit.copies);
//!
//! // On any node, from the cookie:
//! let again = mesh.load(session.id()).await?.expect("it was committed");
//! assert_eq!(again.get::<String>("user")?.as_deref(), Some("ada"));
//!
//! // Before the process ends:
//! mesh.leave(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Session`] collects changes. [`Session::commit`] makes them visible together and returns the number of copies.
//! [`Mesh::load`] finds a session from any node. It returns `None` only if there is no such session, and
//! [`LoadError::CannotTell`] if the node cannot know; [`Mesh::blindness`] says how long that may last.
//!
//! # Other crates in this interface
//!
//! The public interface uses the traits of serde 1 (values and settings) and the I/O traits of tokio 1
//! ([`network::ByteStream`]). This is on purpose, and they stay at these versions. No type of another crate belongs to
//! the interface. Items whose source is in `sessionmesh-core` are stable under the names that they have here; the
//! `wincode` traits that they implement are not.

mod alone;
mod blindness;
mod builder;
mod clock;
pub mod config;
mod discovery;
mod engine;
mod error;
mod event;
#[cfg(any(fuzzing, sessionmesh_simulation))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
pub mod json;
mod life;
mod lock;
mod log_throttle;
mod look_up;
mod membership;
mod mesh;
mod metrics;
pub mod network;
mod read_consistency;
pub mod record_store;
mod security;
mod session;
mod session_copy;
#[cfg(sessionmesh_simulation)]
mod simulation;
mod spans;
mod start;
mod stats;
mod sync;
mod task;
mod user;
mod user_index;

pub use alone::{Alone, Outcome, Tried};
pub use blindness::{Blindness, WhenUnsure};
pub use builder::MeshBuilder;
pub use clock::{Clock, SystemClock};
pub use config::{Config, ConfigError};
pub use discovery::Discovery;
pub use engine::upkeep::leave::Leave;
pub use error::{
    CommitError, CreateError, Failure, JsonError, LeaveError, LimitExceeded, LoadError, StartError, UserError,
    ValueError,
};
pub use event::Event;
pub use health::{Finding, Health, NodeState};
pub use look_up::LookUp;
pub use mesh::{Events, Mesh};
pub use read_consistency::ReadConsistency;
pub use security::certificates::CertificateFileError;
pub use security::refusal::Refusals;
pub use security::secret::{Secret, SecretError};
pub use security::secret_file::SecretFileError;
pub use session::{Commit, Session};
pub use session_copy::{CopyContent, CopyState, SessionCopy};
pub use sessionmesh_core::id::{InvalidSessionId, SessionId};
pub use sessionmesh_core::placement::view::{Member, MemberState};
pub use sessionmesh_core::replication::acks::Ack;
pub use sessionmesh_core::session::ValueBytes;
pub use sessionmesh_core::terms::{Difference, Mode, Terms};
pub use sessionmesh_core::wire::message::Figures;
pub use sessionmesh_core::wire::version::Versions;
#[doc(hidden)]
pub use sessionmesh_core::{coverage, failpoint, interleave};
#[cfg(sessionmesh_simulation)]
#[doc(hidden)]
pub use simulation::{AttributeHeld, Kept, draw_keys_of_the_process};
pub use stats::{CommitOutcome, CommitsBy, PeerStats, Stats};
#[cfg(sessionmesh_simulation)]
#[doc(hidden)]
pub use task::{Gate, Gated};
pub use user::{InvalidatedAll, UserSession};
pub use user_index::UserIndex;

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
