//! Requests that still have an id which another request renewed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;
use http::header::RETRY_AFTER;
use sessionmesh::Mesh;
use tokio::sync::Barrier;

use super::super::visit::State;
use super::site::{Answer, Visitor, mesh, routes, send, site};
use crate::{ErrorKind, Session, SessionError, SessionLayer};

#[tokio::test]
async fn who_comes_with_the_id_from_before_a_login_gets_no_session_and_no_cookie() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/cart/tea").await;
    let before = visitor.cookie();
    visitor.post(&site, "/login/ada").await;
    for path in ["/write/late/change", "/login/ada", "/remove/cart"] {
        let late = send(&site, "POST", path, before.as_deref()).await;
        assert_eq!((late.status, late.set().len()), (StatusCode::OK, 0), "{path}: {late:?}");
    }
    assert_eq!(mesh.stats().sessions, 1);
    assert_eq!(visitor.get(&site, "/read/user").await, "ada");
    assert_eq!(visitor.get(&site, "/read/late").await, "none", "who planted the id writes nothing");
    // Somebody who logs out wants that.
    assert_eq!(send(&site, "POST", "/logout", before.as_deref()).await.set().len(), 1);
}

#[tokio::test]
async fn a_request_that_comes_too_late_is_told_so_when_it_asks() {
    let mesh = mesh().await;
    let asks = post(async |session: Session| -> Result<String, SessionError> {
        let was_renewed = session.was_renewed_elsewhere();
        session.insert("late", "change")?;
        assert!(!session.is_new() || !was_renewed);
        session.commit().await?;
        Ok(was_renewed.to_string())
    });
    let site = routes().route("/asks", asks).layer(SessionLayer::new(mesh));
    let mut visitor = Visitor::default();
    assert_eq!(visitor.post(&site, "/asks").await.body, "false");
    let before = visitor.cookie();
    visitor.post(&site, "/login/ada").await;
    let late = send(&site, "POST", "/asks", before.as_deref()).await;
    assert_eq!((late.status, late.set().len()), (StatusCode::CONFLICT, 0));
    assert_eq!(late.headers[RETRY_AFTER], "1");
    assert_eq!(visitor.post(&site, "/asks").await.body, "false");
}

#[test]
fn the_old_id_is_remembered_for_a_while_and_for_who_logs_in_with_it_for_a_moment() {
    let late = |seconds, renew| {
        let renewed_ago = Some(Duration::from_secs(seconds));
        State { renewed_ago, renew, ..State::default() }.is_late()
    };
    assert!(late(0, false) && late(59, false) && !late(60, false));
    assert!(late(0, true) && late(4, true) && !late(5, true));
    assert!(!State::default().is_late());
}

/// `POST /rotate` and `/rotate-and-store` renew and wait for it, all at the same moment.
fn rotating(mesh: &Mesh, requests: usize) -> Router {
    let gate = Arc::new(Barrier::new(requests));
    let rotate = move |stores: bool| {
        let gate = gate.clone();
        post(async move |session: Session| -> Result<String, SessionError> {
            gate.wait().await;
            session.renew();
            if stores {
                session.insert("rotated", "yes")?;
            }
            session.commit().await?;
            Ok(session.get::<String>("user")?.unwrap_or_else(|| "none".to_owned()))
        })
    };
    let routes = routes().route("/rotate", rotate(false)).route("/rotate-and-store", rotate(true));
    routes.layer(SessionLayer::new(mesh.clone()))
}

/// Sends so many requests at the same moment; the browser takes the answers one after the other.
async fn at_once(visitor: &mut Visitor, site: &Router, path: &str, requests: usize) -> Vec<Answer> {
    let cookie = visitor.cookie();
    let sent = (0..requests).map(|_| send(site, "POST", path, cookie.as_deref()));
    let answers = futures::future::join_all(sent).await;
    answers.iter().for_each(|answer| visitor.take(answer));
    answers
}

#[tokio::test]
async fn of_many_requests_that_rotate_the_id_at_the_same_time_none_is_logged_out() {
    let mesh = mesh().await;
    let site = rotating(&mesh, 8);
    for round in 0..10 {
        let mut visitor = Visitor::default();
        visitor.post(&site, "/login/ada").await;
        for answer in at_once(&mut visitor, &site, "/rotate", 8).await {
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "ada"), "round {round}");
        }
        assert_eq!(visitor.get(&site, "/read/user").await, "ada", "round {round}");
        for answer in at_once(&mut visitor, &site, "/rotate-and-store", 8).await {
            let told = matches!(answer.status, StatusCode::OK | StatusCode::CONFLICT);
            assert!(told, "round {round}: {answer:?}");
        }
        assert_eq!(visitor.get(&site, "/read/user").await, "ada", "round {round}");
        assert_eq!(visitor.get(&site, "/read/rotated").await, "yes", "round {round}");
    }
}

#[tokio::test]
async fn a_request_that_renewed_too_late_stores_nothing_more() {
    let mesh = mesh().await;
    let gate = Arc::new(Barrier::new(2));
    let waiting = gate.clone();
    let late = post(async move |session: Session| {
        waiting.wait().await;
        waiting.wait().await;
        session.renew();
        session.commit().await.unwrap();
        assert!(session.was_renewed_elsewhere());
        session.insert("late", "change").unwrap();
        let refused = session.commit().await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Renewed), "{refused}");
    });
    let site = routes().route("/late", late).layer(SessionLayer::new(mesh));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let before = visitor.cookie();
    let login = async {
        gate.wait().await;
        visitor.post(&site, "/login/ada").await;
        gate.wait().await;
    };
    let (answer, ()) = tokio::join!(send(&site, "POST", "/late", before.as_deref()), login);
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 0), "{answer:?}");
    assert_eq!(visitor.get(&site, "/read/late").await, "none");
}
