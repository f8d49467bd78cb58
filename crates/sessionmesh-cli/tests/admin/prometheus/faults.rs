//! Alerts that the nodes of the other test have no reason for, each by a real fault in a cluster of its own. They are side by
//! side, since most of the time is spent waiting for what lasts.

use std::time::Duration;

use futures::future::join_all;
use sessionmesh_testkit::authority::{self, Authority, Files, Wanted};
use tokio::time::{Instant, sleep};

use super::is_there;
use super::server::{Prometheus, free_port};
use super::watched::{NOBODY, Node, named};

#[tokio::test]
async fn each_other_alert_fires_by_a_fault_in_a_cluster_of_its_own() {
    if !is_there("prometheus") {
        return;
    }
    let prometheus = &Prometheus::start().await;
    tokio::join!(
        too_few_members(prometheus),
        changes_that_wait(prometheus),
        commits_in_vain(prometheus),
        owners_that_vanished(prometheus),
        too_many_sessions(prometheus),
        too_many_ends(prometheus),
        a_host_without_a_processor(prometheus),
        a_certificate_that_ends(prometheus),
    );
}

/// The one that is missing never comes.
async fn too_few_members(prometheus: &Prometheus) {
    // It says where it is only when it is ready.
    let admin = free_port().await;
    let _child = named("few-1", &admin, &[("SESSIONMESH_MIN_MEMBERS", "2")]).spawn().unwrap();
    prometheus.also_scrape(&admin);
    prometheus.alerts_of("SessionmeshNodeNotReady", "few").await;
}

/// A member hangs and stays a member, since with so slow a gossip nobody may say so soon that it has gone.
async fn changes_that_wait(prometheus: &Prometheus) {
    let slow = [("SESSIONMESH_GOSSIP_INTERVAL", "6s")];
    let [first, second] = Node::cluster("lag", [&slow, &slow]).await;
    prometheus.watches(&first).await;
    second.signal("-STOP").await;
    first.log_in("ada").await;
    prometheus.alerts_of("SessionmeshReplicationLags", "lag").await;
}

/// Two members hang at once. One that hangs is found out in time for another to stand in for it, but not also that other.
async fn commits_in_vain(prometheus: &Prometheus) {
    let [first, second, third] = Node::cluster("late", [&[], &[], &[]]).await;
    prometheus.watches(&first).await;
    let hang = async || {
        tokio::join!(second.signal("-STOP"), third.signal("-STOP"));
        first.log_in("ada").await;
        tokio::join!(second.signal("-CONT"), third.signal("-CONT"));
        // Until they are trusted again nobody waits for them.
        first.trusts_all().await;
    };
    prometheus.alerts_while("SessionmeshCommitsTimeOut", "late", hang).await;
}

/// The nodes that held a session vanish both at once; its visitor comes again and again.
async fn owners_that_vanished(prometheus: &Prometheus) {
    let hasty = [("SESSIONMESH_READ_DEADLINE", "50ms")];
    let [first, mut second, mut third] = Node::cluster("gone", [&hasty, &hasty, &hasty]).await;
    prometheus.watches(&first).await;
    let cookie = loop {
        match second.log_in("ada").await {
            Some((cookie, owners)) if !owners.contains(&first.name) => break cookie,
            _ => {}
        }
    };
    let _ = tokio::join!(second.child.kill(), third.child.kill());
    let visits = async || drop(join_all((0..50).map(|_| first.visited("GET", "/session", &cookie))).await);
    prometheus.alerts_while("SessionmeshVisitorsTurnedAway", "gone", visits).await;
    assert_eq!(first.visited("GET", "/session", &cookie).await, 503);
}

async fn too_many_sessions(prometheus: &Prometheus) {
    let node = Node::start("full-1", NOBODY, &[("SESSIONMESH_MAX_SESSIONS", "1")]).await;
    prometheus.watches(&node).await;
    assert!(node.log_in("ada").await.is_some());
    assert!(node.log_in("bob").await.is_none(), "it has room for one");
    prometheus.alerts_of("SessionmeshLimitReached", "full").await;
}

/// Each of the 4,096 slots may remember one end, and those of the last ten commit deadlines. As the nodes do not agree about
/// these, one forgets what the other one remembers, and their copies differ. Nothing else that a person can do makes them differ
/// without a change of the members.
async fn too_many_ends(prometheus: &Prometheus) {
    let [most, often] = [("SESSIONMESH_MAX_TOMBSTONES", "4096"), ("SESSIONMESH_AUDIT_INTERVAL", "1s")];
    let hasty = [most, often, ("SESSIONMESH_COMMIT_DEADLINE", "200ms")];
    let [first, second] = Node::cluster("ends", [&hasty, &[most, often]]).await;
    prometheus.watches(&first).await;
    prometheus.watches(&second).await;
    let come_and_go = async || {
        for _ in 0..50 {
            // On a busy machine one may fail.
            if let Some((cookie, _)) = second.log_in("ada").await {
                second.visited("POST", "/logout", &cookie).await;
            }
        }
    };
    prometheus.alerts_while("SessionmeshEndsForgotten", "ends", come_and_go).await;
    prometheus.alerts_while("SessionmeshCopiesDiffer", "ends", come_and_go).await;
}

/// Others have its processor most of the time.
async fn a_host_without_a_processor(prometheus: &Prometheus) {
    let node = Node::start("busy-1", NOBODY, &[]).await;
    prometheus.watches(&node).await;
    let others_run = async || {
        node.signal("-STOP").await;
        // Nothing is waited for here: for how long others run, and then this one, is the fault.
        sleep(Duration::from_millis(250)).await;
        node.signal("-CONT").await;
        sleep(Duration::from_millis(50)).await;
    };
    prometheus.alerts_while("SessionmeshHostBusy", "busy", others_run).await;
}

async fn a_certificate_that_ends(prometheus: &Prometheus) {
    let authority = Authority::new("shop");
    let until = authority::now() + Duration::from_secs(3 * 24 * 60 * 60);
    let signed = authority.sign(&Wanted { until, ..Wanted::good(&["web.shop"]) });
    let files = Files::new(&signed, authority.pem());
    let [cert, key, ca] = [files.cert(), files.key(), files.ca()].map(|path| path.to_str().unwrap().to_owned());
    let settings = [("TLS_CERT", &*cert), ("TLS_KEY", &key), ("TLS_CA", &ca), ("TLS_NAMES", "*.shop")];
    let settings = settings.map(|(name, value)| (format!("SESSIONMESH_{name}"), value));
    let settings: Vec<_> = settings.iter().map(|(name, value)| (&**name, *value)).collect();
    let node = Node::start("cert-1", NOBODY, &settings).await;
    prometheus.watches(&node).await;
    prometheus.alerts_of("SessionmeshCertificateExpires", "cert").await;
}

/// While it is in use a session differs on two nodes whenever a change of it is on its way. That is no fault.
#[tokio::test]
async fn copies_of_sessions_that_are_in_use_do_not_count_as_different() {
    // So long a deadline that no change is on its way for longer, also on a busy machine.
    let often = [("SESSIONMESH_AUDIT_INTERVAL", "1s"), ("SESSIONMESH_COMMIT_DEADLINE", "1s")];
    let [first, second] = Node::cluster("used", [&often, &often]).await;
    // Some comparisons long.
    let start = Instant::now();
    let visits = async |node: &Node| {
        while start.elapsed() < Duration::from_secs(10) {
            if let Some((cookie, _)) = node.log_in("ada").await {
                join_all((0..20).map(|_| node.visited("GET", "/session", &cookie))).await;
            }
        }
    };
    join_all([&first, &second, &first, &second].map(visits)).await;
    for node in [&first, &second] {
        assert_eq!(node.metric("sessionmesh_audit_differences_total{").await, "0", "{}", node.name);
    }
}
