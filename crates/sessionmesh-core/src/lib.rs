//! The pure heart of Sessionmesh: no task, no socket, no clock.
//!
//! Three rules carry everything. A session is a value that merges ([`session`], [`delta`]). Owners are computed, not
//! announced ([`view`], [`terms`], [`slots`]). Whoever holds a copy sees to it that every owner has it, and lets go only when
//! the owners say that they keep it ([`outbox`], [`acks`], [`keeping`]).
//!
//! On these stand the rules by which a node acts: who is alive ([`liveness`], [`membership`]), whom a commit waits for and who
//! hands over what ([`placement`]), what a read concludes ([`read`]), when an idle session ends ([`expiry`]), and what follows
//! from a merge ([`merged`]).
//!
//! Time enters as a [`moment::Moment`] argument and randomness as a generator, so a test of anything here is a plain
//! function. Nothing here iterates in hash order.
//!
//! **This crate is a part of `sessionmesh`, and promises no stability**: anything may change in any version, also what it
//! shows of other crates, such as the traits of `wincode` on messages. Applications use `sessionmesh`, which has what they
//! need of this under its own names.

pub mod acks;
#[cfg(test)]
pub(crate) mod arbitrary;
pub mod codec;
pub mod delta;
pub mod entry;
pub mod expiry;
pub mod id;
pub mod incarnation;
pub mod keeping;
pub mod liveness;
pub mod membership;
pub mod merged;
pub mod message;
pub mod moment;
pub mod outbox;
pub mod placement;
#[doc(hidden)]
pub mod probe;
pub mod read;
pub mod session;
pub mod slots;
pub mod stamp;
pub mod terms;
pub mod tombstones;
pub mod user_limit;
pub mod users;
pub mod view;
