//! A web site as it is run: node processes with the example application, a balancer in front, and visitors.
//!
//! The balancers are started with the files of `docs/balancers`, so what the documentation says is what is tested.
//! Nodes and balancer have addresses of their own on loopback, where no connection takes a port between a stop and a
//! start.

mod balancer;
mod load;
mod node;
mod site;
mod tally;
mod visitor;
mod walk;

pub use self::balancer::{Balancer, Kind};
pub use self::load::Load;
pub use self::node::{Launch, WebNode};
pub use self::site::{NAMES, Site};
pub use self::tally::{Mishap, Step, Tally};
pub use self::visitor::Visitor;
