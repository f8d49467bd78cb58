//! Clusters in this process, on real sockets of loopback. One program for all of them, since a program for each would take
//! longer to link than to run; several tests run at a time.
//!
//! Tests that measure a time closely, or that take all of a small machine, are in `in_turn`; those that look at memory and
//! panics of the process in `hostile`.

mod admin;
mod admin_servers;
mod alone;
mod axum_blind;
mod axum_layer;
mod axum_move;
mod burst;
mod cannot_dial;
mod cannot_tell;
mod certificates;
mod datagrams;
mod events;
mod idle;
mod kubernetes_example;
mod limits;
mod lives;
mod logout;
mod metrics;
mod moves;
mod read_held;
mod recorded;
mod renew;
mod secrets;
mod settings;
mod strict;
mod third_reader;
mod two_writers;
mod upgrade;
mod user_limit;
mod users;
