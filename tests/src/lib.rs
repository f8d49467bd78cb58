//! Helpers shared by the tests from outside.

pub mod another_id;
pub mod browser;
pub mod busy;
pub mod cluster;
pub mod control;
pub mod gate;
pub mod hanging;
pub mod lan;
pub mod poor_network;
pub mod process;
pub mod rounds;
pub mod web;
