//! What the program says, and with which code it ends, when it is told to stop.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use sessionmesh_testkit::processes::{Turn, unique_name};
use sessionmesh_testkit::web::{Launch, Visitor, WebNode};
use tokio::task::JoinSet;

async fn node(name: &str, cluster: &str, dir: &Path) -> WebNode {
    WebNode::start(Launch::new(name, cluster, dir)).await
}

async fn log_in(node: &WebNode) {
    let answer = Visitor::new(node.http(), "ada").log_in().await.expect("it serves");
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// Waits until each of the two sees the other.
async fn see_each_other([one, other]: [&WebNode; 2]) {
    one.sees(2).await;
    other.sees(2).await;
}

fn says_that_sessions_ended((code, log): &(Option<i32>, String), sessions: usize) {
    assert_eq!(*code, Some(4), "{log}");
    let said = format!("no other node stayed to take the sessions of this one; {sessions} sessions ended with it");
    assert!(log.contains(&said), "{log}");
}

#[tokio::test]
async fn who_stops_last_says_that_the_sessions_end_and_who_has_none_ends_well() {
    let (_turn, dir, cluster) = (Turn::wait(), tempfile::tempdir().expect("a directory"), unique_name());
    let one = node("web-1", &cluster, dir.path()).await;
    assert_eq!(one.stops().await.0, Some(0), "nobody was ever there");
    let (one, other) = tokio::join!(node("web-1", &cluster, dir.path()), node("web-2", &cluster, dir.path()));
    see_each_other([&one, &other]).await;
    log_in(&one).await;
    assert_eq!(one.stops().await.0, Some(0), "the other one has all");
    says_that_sessions_ended(&other.stops().await, 1);
}

#[tokio::test]
async fn who_is_told_to_stop_while_the_only_other_node_hangs_does_not_say_that_all_is_well() {
    let (_turn, dir, cluster) = (Turn::wait(), tempfile::tempdir().expect("a directory"), unique_name());
    let (one, other) = tokio::join!(node("web-1", &cluster, dir.path()), node("web-2", &cluster, dir.path()));
    see_each_other([&one, &other]).await;
    other.freeze();
    let visitors = async {
        for _ in 0..3 {
            log_in(&one).await;
        }
    };
    visitors.await;
    // Whether the other one has been given up before or not: nothing was handed over.
    let (code, log) = one.stops().await;
    match code {
        Some(4) => says_that_sessions_ended(&(code, log), 3),
        Some(1) => assert!(log.contains("with 3 sessions not handed over"), "{log}"),
        _ => panic!("{code:?}: {log}"),
    }
}

/// Asks until connections are refused. What was answered in between.
async fn answers(mut visitor: Visitor) -> Vec<StatusCode> {
    let mut answers = Vec::new();
    loop {
        match visitor.visit().await {
            Ok(answer) => answers.push(answer.status),
            Err(error) if error.contains("Connection refused") => return answers,
            // A connection that was kept alive has been closed; the next one tells whether others are let in.
            Err(_) => {}
        }
    }
}

/// Balancers differ in what they do with a 503, but all send elsewhere what is refused.
#[tokio::test]
async fn a_node_that_stops_answers_as_before_until_it_lets_nobody_in() {
    let (_turn, dir, cluster) = (Turn::wait(), tempfile::tempdir().expect("a directory"), unique_name());
    let giving_notice = Launch { notice: Duration::from_millis(300), ..Launch::new("web-1", &cluster, dir.path()) };
    let (one, other) = tokio::join!(WebNode::start(giving_notice), node("web-2", &cluster, dir.path()));
    see_each_other([&one, &other]).await;
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let mut visitor = Visitor::new(one.http(), &format!("visitor {number}"));
        visitor.log_in().await.expect("it serves");
        asking.spawn(answers(visitor));
    }
    assert_eq!(one.stops().await.0, Some(0), "the other one has all");
    let answers = asking.join_all().await.concat();
    assert!(answers.len() > 16, "{}", answers.len());
    let wrong: Vec<_> = answers.iter().filter(|status| **status != StatusCode::OK).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), answers.len());
    says_that_sessions_ended(&other.stops().await, 8);
}
