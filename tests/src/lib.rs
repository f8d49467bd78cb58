//! Helpers shared by the tests from outside.

pub mod browser;
pub mod cluster;
pub mod control;
pub mod hanging;
pub mod process;
pub mod web;
