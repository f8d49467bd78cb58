//! Visitors are served without a failed request while every node is restarted, one after the other.

use std::time::Duration;

use sessionmesh_testkit::web::{Kind, Load, NAMES, Site};

/// Visitors at the same time.
const VISITORS: usize = 8;
/// Between two requests of one visitor.
const PACE: Duration = Duration::from_millis(10);

async fn nobody_notices(kind: Kind) {
    let Some(mut site) = Site::open(kind, &NAMES).await else { return };
    // Given visitors who come, log in twice, look around and log out
    let load = Load::start(site.addr(), VISITORS, PACE, true);
    load.goes_on().await;
    // When all nodes are restarted, one after the other
    site.restart_one_after_the_other().await;
    for name in NAMES {
        site.is_used(name).await;
    }
    load.goes_on().await;
    let tally = load.stop().await;
    println!("{kind:?}: {tally}, {} sent to a second node", site.retried());
    // Then no request failed, nobody was logged out, every visit was counted once, and who logged out stays so.
    assert!(tally.faults().is_empty(), "{kind:?}: {tally}; {:#?}", tally.faults());
    assert_eq!(tally.counted_twice, 0);
    assert_eq!(tally.served_by.len(), NAMES.len());
}

#[tokio::test]
async fn a_rolling_restart_goes_unnoticed_behind_nginx() {
    nobody_notices(Kind::Nginx).await;
}

#[tokio::test]
async fn a_rolling_restart_goes_unnoticed_behind_haproxy() {
    nobody_notices(Kind::Haproxy).await;
}

#[tokio::test]
async fn a_rolling_restart_goes_unnoticed_behind_sticky_nginx() {
    nobody_notices(Kind::NginxSticky).await;
}

#[tokio::test]
async fn a_rolling_restart_goes_unnoticed_behind_sticky_haproxy() {
    nobody_notices(Kind::HaproxySticky).await;
}
