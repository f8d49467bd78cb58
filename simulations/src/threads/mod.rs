//! What one thread cannot see: clusters whose nodes run on many threads, in real time.
//!
//! In a simulation all nodes share one thread, and tasks change places only where they wait. Here each node has a runtime with
//! several threads, there are more threads than cores, and the library waits at random between steps that one thread would do
//! in one go (`interleave.rs` in `sessionmesh-core`). Visitors and the oracle are those of the simulations. Nothing repeats
//! exactly: a seed decides what a cluster consists of and what is done to it, not what happens in which order.
//!
//! - [`play`]: the life of one cluster (`story`). `setup`: what is drawn. `cluster`: its nodes, and how they look.
//! - `wire`: the network. `logs`: what the nodes said last, for a report.

mod cluster;
mod logs;
mod setup;
mod story;
mod wire;

use sessionmesh::failpoint::{self, Bug};
pub use story::{PROMISES, Report, play};

/// From now on the library waits at random points, drawn by `salt`; never if it is 0.
pub fn provoke(salt: u64) {
    sessionmesh::interleave::provoke(salt);
}

/// From now on all nodes of this process make this mistake.
pub fn plant(bug: Option<Bug>) {
    failpoint::plant_everywhere(bug);
}

/// What the nodes log is kept, and panics of their threads are noted.
pub fn listen() {
    logs::listen();
}
