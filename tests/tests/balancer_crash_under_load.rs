//! A node crashes while visitors are served: nobody is logged out, nothing that was answered is lost, and only requests
//! that were under way at that moment may fail.

use std::time::Duration;

use sessionmesh_tests::web::{Kind, Load, NAMES, Site};
use tokio::time::Instant;

/// Visitors at the same time.
const VISITORS: usize = 16;
/// Short, so that many requests are under way at the crash.
const PACE: Duration = Duration::from_millis(2);

async fn nobody_is_logged_out(kind: Kind) {
    let Some(mut site) = Site::open(kind, &NAMES).await else { return };
    // Given visitors who come, log in, look around and log out
    let load = Load::start(site.addr(), VISITORS, PACE);
    load.goes_on().await;
    // When a node crashes
    load.about_to_kill();
    let killed = site.take("web-2").kill().await;
    let gone = Instant::now();
    load.goes_on().await;
    load.goes_on().await;
    let tally = load.stop().await;
    println!("{kind:?}: {tally}, {} sent to a second node", site.retried());
    for (sent, failed, why) in tally.failed() {
        println!(
            "  sent {:?} before, failed {:?} after the crash: {why}",
            killed.saturating_duration_since(sent),
            failed.saturating_duration_since(killed)
        );
    }
    // Then nobody is logged out, every visit that was answered stays counted, who logged out stays so,
    assert!(tally.lost().is_empty(), "{kind:?}: {tally}; {:#?}", tally.lost());
    // and only what was under way at the crash failed: at most one request of each visitor.
    for (sent, failed, why) in tally.failed() {
        assert!(sent <= gone && killed <= failed, "{kind:?}: not under way at the crash: {why}");
    }
    assert!(tally.failed().len() <= VISITORS);
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_nginx() {
    nobody_is_logged_out(Kind::Nginx).await;
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_haproxy() {
    nobody_is_logged_out(Kind::Haproxy).await;
}
