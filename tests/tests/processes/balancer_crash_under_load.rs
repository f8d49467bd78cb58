//! A node crashes while visitors are served: nobody is logged out, nothing that was answered is lost, and only requests
//! that were under way at that moment may fail.

use std::time::Duration;

use sessionmesh_testkit::web::{Kind, Load, NAMES, Site, Step};

/// Visitors at the same time.
const VISITORS: usize = 16;
/// Short, so that many requests are under way at the crash.
const PACE: Duration = Duration::from_millis(2);

async fn nobody_is_logged_out(kind: Kind) {
    let Some(mut site) = Site::open(kind, &NAMES).await else { return };
    // Given visitors who come, log in, look around and log out. They do not log in twice: whether a session that gets
    // another id when a node crashes goes on under it, nobody can know, and nothing is promised.
    let load = Load::start(site.addr(), VISITORS, PACE, false);
    load.goes_on().await;
    // When a node crashes
    load.kill(site.take("web-2")).await;
    load.goes_on().await;
    load.goes_on().await;
    let tally = load.stop().await;
    let interrupted: Vec<_> = tally.interrupted().collect();
    println!("{kind:?}: {tally}, {} sent to a second node; interrupted: {interrupted:?}", site.retried());
    // Then nobody is logged out, every visit that was answered stays counted, who logged out stays so, and no request
    // failed but those that were under way at the crash,
    assert!(tally.faults().is_empty(), "{kind:?}: {tally}; {:#?}", tally.faults());
    // one for each visitor at most, and none that was safe to send again.
    assert!(interrupted.len() <= VISITORS, "{interrupted:?}");
    assert!(interrupted.iter().all(|(step, _)| *step != Step::Visit), "{interrupted:?}");
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_nginx() {
    nobody_is_logged_out(Kind::Nginx).await;
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_haproxy() {
    nobody_is_logged_out(Kind::Haproxy).await;
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_sticky_nginx() {
    nobody_is_logged_out(Kind::NginxSticky).await;
}

#[tokio::test]
async fn a_crash_under_load_logs_nobody_out_behind_sticky_haproxy() {
    nobody_is_logged_out(Kind::HaproxySticky).await;
}
