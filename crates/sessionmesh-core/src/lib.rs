//! The pure heart of Sessionmesh: no task, no socket, no clock.
//!
//! Three rules carry everything. A session is a value that merges ([`session`], [`replication::delta`]). Owners are computed,
//! not announced ([`placement`], [`terms`]). Whoever holds a copy sees to it that every owner has it, and drops it only when
//! the owners say that they keep it ([`replication`]).
//!
//! On these stand the rules by which a node acts: who is alive ([`liveness`]), who is a member ([`membership`]), whom a commit
//! waits for ([`replication::targets`]), who hands over what ([`placement::handoff`]), what a read concludes ([`read`]), when
//! an idle session ends ([`expiry`]), and what follows from a merge ([`replication::effects`]).
//!
//! Time enters as a [`moment::Moment`] argument and randomness as a generator, so a test of anything here is a plain
//! function. Nothing here iterates in hash order.
//!
//! **This crate is a part of `sessionmesh`, and promises no stability**: anything may change in any version, also what it
//! shows of other crates, such as the traits of `wincode` on messages. Applications use `sessionmesh`, which has what they
//! need of this under its own names.

#[cfg(test)]
pub(crate) mod arbitrary;
#[doc(hidden)]
pub mod coverage;
pub mod entry;
pub mod expiry;
#[doc(hidden)]
pub mod failpoint;
pub mod id;
pub mod incarnation;
#[doc(hidden)]
pub mod interleave;
pub mod liveness;
pub mod membership;
pub mod moment;
pub mod placement;
pub mod read;
pub mod replication;
pub mod session;
pub mod stamp;
mod table;
pub mod terms;
pub mod tombstones;
pub mod user_limit;
pub mod users;
pub mod wire;
