//! The `sessionmesh` program: a cluster to look at, one node with an example application, and a check of multicast.
//!
//! - `demo` starts nodes as child processes, kills one before your eyes, and shows that nobody is logged out.
//! - `node` is the example: an axum application with a [`Mesh`](sessionmesh::Mesh), as one would write it.
//! - `multicast_check` says whether datagrams to a group arrive.
//! - `operator` has the commands that ask a running node by its admin address.
//! - `failure` is how a command can end.
//! - `probe` is the datagram that the demo and the check share, `http_client` a request to a node, `terminal` the look of what is printed, `log` how lines get to stderr,
//!   `open_files` the limit on them.

mod cli;
mod config_check;
mod demo;
mod failure;
mod http_client;
mod keygen;
mod log;
mod multicast_arguments;
mod multicast_check;
mod node;
mod open_files;
mod operator;
mod probe;
mod shell;
mod stop;
mod terminal;

pub use cli::main;
