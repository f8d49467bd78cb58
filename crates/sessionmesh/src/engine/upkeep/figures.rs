//! Publishes the metrics, and tells of states that nothing else watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::search::Search;
use crate::blindness;
use crate::engine::state::node::Node;
use crate::event::Event;
use crate::metrics::{self, State};
use crate::stats::collect;

/// How often metrics are published.
const PUBLISHED: Duration = Duration::from_secs(1);

/// Publishes until the node stops.
pub(crate) async fn run(node: Arc<Node>, search: Arc<Search>, ready: watch::Receiver<bool>) {
    let publishing = async {
        let mut ticks = node.ticks(PUBLISHED);
        let mut was_blind = false;
        loop {
            ticks.tick().await;
            was_blind = tell_of_blindness(&node, was_blind);
            let is_ready = *ready.borrow();
            publish(&node, is_ready, search.alone(&node).is_some());
        }
    };
    node.lifecycle.stop.run_until_cancelled(publishing).await;
    // The last word: what was done stays counted, and nothing is ready any more.
    publish(&node, false, false);
}

/// Publishes what there is now.
pub(crate) fn publish(node: &Node, ready: bool, alone: bool) {
    metrics::publish(&node.config, &collect::of(node), State { ready, alone });
}

/// Says when it begins and when it is over.
fn tell_of_blindness(node: &Node, before: bool) -> bool {
    let blindness = blindness::of(node);
    match (before, &blindness) {
        (false, Some(blind)) => node.emit(Event::Blind { missing: blind.missing.clone(), slots: blind.slots }),
        (true, None) => node.emit(Event::NotBlind),
        _ => {}
    }
    blindness.is_some()
}
