//! Helpers shared by the tests from outside.

pub mod cluster;
pub mod control;
pub mod process;
pub mod web;
