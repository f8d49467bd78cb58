//! Nodes in processes of their own: the hidden subcommand `node`, and how others drive it.
//!
//! A node takes [`Command`]s as lines of JSON on its standard input, one at a time, and answers each with one line on
//! its standard output; the first line says its address. It ends when its input does.

mod arguments;
mod arrival;
mod bulk;
mod cluster;
mod measured;
mod process;
mod protocol;
mod reading;
mod serve;
mod sessions;
mod stream;
mod visiting;
mod watch;

pub(crate) use arguments::{NodeArgs, Threads};
pub(crate) use cluster::{Processes, are_settled};
pub(crate) use process::NodeProcess;
pub(crate) use protocol::{Answer, Command, Found, NodeStats, Rates};
pub(crate) use reading::{Pace, Reads};
pub(crate) use serve::serve;
pub(crate) use visiting::Forged;
