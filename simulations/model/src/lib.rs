//! A model.

pub mod bounds;
pub mod check;
pub mod cluster;
mod faults;
mod liveness;
mod merges;
pub mod mesh;
pub mod mistakes;
mod places;
pub mod promises;
mod protocol;
mod reads;
pub mod steps;
