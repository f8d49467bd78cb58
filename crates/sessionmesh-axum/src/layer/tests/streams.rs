//! Handles that outlive the head of the response.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use sessionmesh::Mesh;
use tokio::time::{Instant, interval, sleep, timeout};

use super::site::{Visitor, mesh, mesh_with, routes};
use crate::{ErrorKind, Session, SessionLayer};

/// `POST /keep` lets its handle be taken, as a body that is streamed would.
fn keeping(mesh: &Mesh) -> (Router, Arc<Mutex<Option<Session>>>) {
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let route = post(async move |session: Session| *keep.lock().unwrap() = Some(session));
    (routes().route("/keep", route).layer(SessionLayer::new(mesh.clone())), kept)
}

/// A visitor with a session, and the handle of a request whose head has left.
async fn kept(site: &Router, kept: &Mutex<Option<Session>>) -> (Visitor, Session) {
    let mut visitor = Visitor::default();
    visitor.post(site, "/write/color/blue").await;
    visitor.post(site, "/keep").await;
    let session = kept.lock().unwrap().take().unwrap();
    (visitor, session)
}

#[tokio::test]
async fn what_a_stream_changed_without_a_commit_is_stored_when_it_is_over() {
    let mesh = mesh().await;
    let (site, keeps) = keeping(&mesh);
    let (mut visitor, session) = kept(&site, &keeps).await;
    session.insert("streamed", "yes").unwrap();
    session.remove("color");
    let clone = session.clone();
    drop(session);
    assert_eq!(visitor.get(&site, "/read/streamed").await, "none");
    drop(clone);
    let stored = async {
        while visitor.get(&site, "/read/streamed").await != "yes" {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), stored).await.expect("it is stored");
    assert_eq!(visitor.get(&site, "/read/color").await, "none", "in one step");
}

#[tokio::test]
async fn after_the_head_nothing_is_stored_for_a_visitor_without_a_session_and_insert_says_so() {
    let mesh = mesh().await;
    let (site, keeps) = keeping(&mesh);
    Visitor::default().post(&site, "/keep").await;
    let session = keeps.lock().unwrap().take().unwrap();
    let refused = session.insert("late", "change").unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::HeadSent), "{refused}");
    let refused = session.update("late", |_: Option<String>| Some("change".to_owned())).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::HeadSent), "{refused}");

    let (mut visitor, session) = kept(&site, &keeps).await;
    visitor.post(&site, "/logout").await;
    session.insert("late", "change").unwrap();
    let refused = session.commit().await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Ended), "{refused}");
    assert!(matches!(session.insert("later", "change").unwrap_err().kind(), ErrorKind::Ended));
    assert_eq!(mesh.stats().sessions, 0);
}

#[tokio::test]
async fn a_login_in_a_stream_is_not_stored_without_its_renewal() {
    let mesh = mesh().await;
    let (site, keeps) = keeping(&mesh);
    let (mut visitor, session) = kept(&site, &keeps).await;
    session.renew();
    session.insert("user", "ada").unwrap();
    let commits = mesh.stats().commits;
    drop(session);
    tokio::task::yield_now().await;
    assert_eq!(visitor.get(&site, "/read/user").await, "none");
    assert_eq!(mesh.stats().commits, commits);
}

#[tokio::test]
async fn a_stream_that_uses_its_session_keeps_it_alive() {
    const LIMIT: Duration = Duration::from_secs(1);
    let mesh = mesh_with(|builder| builder.max_inactive(LIMIT)).await;
    let (site, keeps) = keeping(&mesh);
    let uses: [fn(&Session); 4] = [
        |session| drop(session.get::<String>("color").unwrap()),
        |session| drop(session.keys()),
        |session| session.insert("color", "red").unwrap(),
        Session::touch,
    ];
    // Only where this machine let it use the session in time.
    for used in uses {
        while !used_in_time(&site, &keeps, used, LIMIT).await {}
    }
}

/// Uses the session of a stream for more than twice its limit. False if this machine did not do so in time.
async fn used_in_time(site: &Router, keeps: &Mutex<Option<Session>>, used: fn(&Session), limit: Duration) -> bool {
    let (mut visitor, session) = kept(site, keeps).await;
    let start = Instant::now();
    let mut ticks = interval(limit / 10);
    let mut last = start;
    while start.elapsed() < limit * 2 + limit / 4 {
        ticks.tick().await;
        if last.elapsed() > limit / 2 {
            return false;
        }
        used(&session);
        last = Instant::now();
    }
    let alive = visitor.get(site, "/read/color").await == "blue";
    alive || last.elapsed() < limit * 9 / 10 && panic!("it ended {:?} after its last use", last.elapsed())
}
