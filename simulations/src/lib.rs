//! Deterministic simulations of Sessionmesh: many seeds, many faults, an oracle that remembers what clients were told.
//!
//! One number, the seed, decides a whole run: [`scenario`] turns it into data (nodes, faults, clients), [`run`] plays
//! that on turmoil's network, [`oracle`] compares what clients saw with what is promised.
//!
//! - [`cluster`]: the nodes, their crashes, and the state of the links between them.
//! - [`clients`]: visitors with several tabs, which create, read, write, renew, stay away and log out.
//! - [`shrink`]: the smallest scenario that still fails; [`planted`]: mistakes that must be found.
//! - [`threads`]: the same visitors and the same oracle, with clusters on many threads.
//! - [`mutants`]: mistakes that nobody planted, in a copy of the library.
//! - [`record`]: what happened in a run, as lines and as a picture.
//! - [`network`], [`tcp`], [`impairments`], [`clock`], [`entropy`]: what the library gets instead of the machine's.
//!
//! What never happens here: a look at the library's insides, beyond what `Mesh` shows; a decision by real time.

pub mod clients;
pub mod clock;
pub mod cluster;
pub mod entropy;
pub mod impairments;
pub mod mutants;
pub mod network;
pub mod oracle;
pub mod planted;
pub mod record;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod tcp;
pub mod threads;

#[cfg(not(tokio_unstable))]
compile_error!("build with --cfg tokio_unstable (see .cargo/config.toml), or panics of tasks go unnoticed");
