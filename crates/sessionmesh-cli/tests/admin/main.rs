//! The admin address of nodes, as operators and Prometheus use it: real processes and real HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside the functions that clippy knows as tests")]

mod api;
mod commands;
mod demo;
mod node;
mod prometheus;
