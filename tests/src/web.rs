//! A web site as it is run: node processes with the example application, a balancer in front, and visitors.
//!
//! The balancers are started with the files of `docs/balancers`, so what the documentation says is what is tested.
//! Nodes and balancer have addresses of their own on loopback, where no connection takes a port between a stop and a
//! start. Nothing here sleeps for a fixed time; [`eventually`] waits for conditions.

mod balancer;
mod load;
mod node;
mod site;
mod tally;
mod visitor;
mod walk;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use self::balancer::{Balancer, Kind};
pub use self::load::Load;
pub use self::node::{Launch, WebNode};
pub use self::site::{NAMES, Site};
pub use self::tally::{Mishap, Step, Tally};
pub use self::visitor::{Answer, Visitor};

/// Between two looks of [`eventually`].
const LOOK: Duration = Duration::from_millis(10);

/// Looks again and again until `look` succeeds, and returns with what.
///
/// # Panics
///
/// At the deadline, with what the last look found wrong.
pub async fn eventually<T>(deadline: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(wrong) if start.elapsed() >= deadline => panic!("after {deadline:?} still: {wrong}"),
            Err(_) => sleep(LOOK).await,
        }
    }
}
