//! Strangers at the ports of a node: nothing they send stops it, makes it panic or takes its memory.
//!
//! Most of them are nodes in the process of the test; `other_process` attacks programs as they are run.
//! One attack at a time, so that each can be told from the others; in a program of their own, since they look at the memory
//! of the process and at all of its panics.

mod datagrams;
mod handshakes;
mod lengths;
mod malformed;
mod messages;
mod mutation;
mod other_process;
mod sealed;
mod target;
mod wire;

use std::time::Duration;

/// Commits that must not fail beside 20 MiB of nonsense, on a machine that is busy with other things as well.
const DEADLINE: Duration = Duration::from_secs(3);
const SEED: u64 = 0x5e55_1031;
