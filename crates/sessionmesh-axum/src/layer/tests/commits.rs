//! When changes are made, and when they are dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use hyper::body::Frame;
use sessionmesh::{Ack, Mesh, ReadConsistency};
use tokio::sync::{Barrier, oneshot};
use tower::ServiceExt as _;

use super::site::{Visitor, mesh, routes, send, site};
use crate::{ErrorKind, Session, SessionLayer, SessionOptions};

const ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// Routes that change something and answer 500.
fn failing(mesh: &Mesh, adjust: impl FnOnce(SessionLayer) -> SessionLayer) -> Router {
    let fail = |session: Session| async move {
        session.renew();
        session.insert("half", "done").unwrap();
        ERROR
    };
    let end = |session: Session| async move {
        session.invalidate().await.unwrap();
        session.insert("half", "done").unwrap();
        ERROR
    };
    let explicit = |session: Session| async move {
        session.renew();
        session.insert("whole", "done").unwrap();
        session.commit().await.unwrap();
        session.insert("half", "done").unwrap();
        ERROR
    };
    let panics = |session: Session| async move {
        session.insert("half", "done").unwrap();
        session.get::<String>("nothing-there").unwrap().expect("a panic, as the test wants it")
    };
    let routes = routes().route("/fail", post(fail)).route("/end", post(end)).route("/explicit", post(explicit));
    routes.route("/panic", post(panics)).layer(adjust(SessionLayer::new(mesh.clone())))
}

#[tokio::test]
async fn a_server_error_drops_the_changes_and_the_renewal() {
    let mesh = mesh().await;
    let site = failing(&mesh, |layer| layer);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let id = visitor.id();
    let answer = visitor.post(&site, "/fail").await;
    assert_eq!((answer.status, answer.set().len(), visitor.id()), (ERROR, 0, id));
    assert_eq!(visitor.get(&site, "/read/half").await, "none");
    assert!(Visitor::default().post(&site, "/fail").await.set().is_empty(), "and makes no session");
    assert_eq!(mesh.stats().sessions, 1);
}

#[tokio::test]
async fn a_site_can_commit_on_server_errors_too() {
    let site = failing(&mesh().await, |layer| layer.commit_on_server_error(true));
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/fail").await;
    assert_eq!((answer.status, answer.set().len()), (ERROR, 1));
    assert_eq!(visitor.get(&site, "/read/half").await, "done");
}

#[tokio::test]
async fn a_logout_stays_and_its_cookie_goes_also_with_a_server_error() {
    let site = failing(&mesh().await, |layer| layer);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/login/ada").await;
    let cookie = visitor.cookie();
    let answer = visitor.post(&site, "/end").await;
    assert_eq!((answer.status, answer.set().len(), visitor.id()), (ERROR, 1, None));
    assert_eq!(send(&site, "GET", "/read/user", cookie.as_deref()).await.body, "none");
}

#[tokio::test]
async fn what_was_committed_by_hand_stays_and_the_new_id_is_told_also_with_a_server_error() {
    let site = failing(&mesh().await, |layer| layer);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let before = visitor.id();
    let answer = visitor.post(&site, "/explicit").await;
    assert_eq!((answer.status, answer.set().len()), (ERROR, 1));
    assert_ne!(visitor.id(), before);
    assert_eq!(visitor.get(&site, "/read/whole").await, "done");
    assert_eq!(visitor.get(&site, "/read/half").await, "none");
}

#[tokio::test]
async fn a_panic_goes_on_and_drops_the_changes() {
    let site = failing(&mesh().await, |layer| layer);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let task = {
        let (site, cookie) = (site.clone(), visitor.cookie());
        tokio::spawn(async move { send(&site, "POST", "/panic", cookie.as_deref()).await.status })
    };
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(visitor.get(&site, "/read/half").await, "none");
    assert_eq!(visitor.get(&site, "/read/color").await, "blue");
}

#[tokio::test]
async fn all_extractors_of_a_request_share_one_load() {
    let mesh = mesh().await;
    async fn outer(session: Session, request: Request, next: Next) -> Response {
        session.insert("outer", "was here").unwrap();
        next.run(request).await
    }
    let inner = get(async |one: Session, other: Session| {
        let (one, other) = (one.get::<String>("outer"), other.get::<String>("color"));
        format!("{} {}", one.unwrap().unwrap(), other.unwrap().unwrap())
    });
    let both = Router::new().route("/both", inner).layer(from_fn(outer));
    let site = routes().merge(both).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let before = mesh.stats();
    assert_eq!(visitor.get(&site, "/both").await, "was here blue");
    let after = mesh.stats();
    assert_eq!((after.local_reads - before.local_reads, after.commits - before.commits), (1, 1));
}

#[tokio::test]
async fn parallel_requests_that_write_different_attributes_both_survive() {
    let mesh = mesh().await;
    let meet = Arc::new(Barrier::new(2));
    let write = post(async move |session: Session, Path(key): Path<String>| {
        session.insert(&key, "here").unwrap();
        meet.wait().await;
    });
    let site = routes().route("/meet/{key}", write).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let (mut one, mut other) = (visitor.clone(), visitor.clone());
    tokio::join!(one.post(&site, "/meet/a"), other.post(&site, "/meet/b"));
    for (key, value) in [("color", "blue"), ("a", "here"), ("b", "here")] {
        assert_eq!(visitor.get(&site, &format!("/read/{key}")).await, value);
    }
}

#[tokio::test]
async fn a_counter_that_is_updated_now_misses_nothing() {
    let mesh = mesh().await;
    let count = post(async |session: Session| {
        session.insert("last", "count").unwrap();
        let count = session.update_now("count", |count: Option<u32>| Some(count.unwrap_or(0) + 1)).await;
        count.unwrap().unwrap().to_string()
    });
    let site = routes().route("/count", count).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    assert_eq!(visitor.post(&site, "/count").await.body, "1", "it makes a session");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (site, mut visitor) = (site.clone(), visitor.clone());
        tasks.spawn(async move { visitor.post(&site, "/count").await.status });
    }
    assert!(tasks.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!(visitor.post(&site, "/count").await.body, "22");
    assert_eq!(visitor.get(&site, "/read/last").await, "count");
}

/// A route that changes something, and answers once it is let.
fn slow(mesh: &Mesh) -> (Router, Arc<Barrier>) {
    let gate = Arc::new(Barrier::new(2));
    let waiting = gate.clone();
    let slow = post(async move |session: Session| {
        session.insert("late", "change").unwrap();
        waiting.wait().await;
        waiting.wait().await;
    });
    (routes().route("/slow", slow).layer(SessionLayer::new(mesh.clone())), gate)
}

#[tokio::test]
async fn a_slow_request_that_commits_after_a_logout_revives_nothing_and_sets_no_cookie() {
    let mesh = mesh().await;
    let (site, gate) = slow(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/login/ada").await;
    let cookie = visitor.cookie();
    let logout = async {
        gate.wait().await;
        visitor.post(&site, "/logout").await;
        gate.wait().await;
    };
    let (answer, ()) = tokio::join!(send(&site, "POST", "/slow", cookie.as_deref()), logout);
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 0));
    for key in ["user", "late"] {
        assert_eq!(send(&site, "GET", &format!("/read/{key}"), cookie.as_deref()).await.body, "none");
    }
    assert_eq!(mesh.stats().sessions, 0);
}

#[tokio::test]
async fn who_planted_an_id_does_not_learn_the_one_that_a_login_made_of_it() {
    let mesh = mesh().await;
    let (site, gate) = slow(&mesh);
    let mut victim = Visitor::default();
    victim.post(&site, "/write/color/blue").await;
    let planted = victim.cookie();
    let login = async {
        gate.wait().await;
        victim.post(&site, "/login/ada").await;
        gate.wait().await;
    };
    let (answer, ()) = tokio::join!(send(&site, "POST", "/slow", planted.as_deref()), login);
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 0), "{answer:?}");
    assert_eq!(victim.get(&site, "/read/late").await, "change", "what was written follows");
    assert_eq!(send(&site, "GET", "/read/user", planted.as_deref()).await.body, "none");
}

#[tokio::test]
async fn a_request_whose_session_was_renewed_by_another_sees_nothing_of_the_new_one() {
    let mesh = mesh().await;
    let gate = Arc::new(Barrier::new(2));
    let waiting = gate.clone();
    let curious = post(async move |session: Session| {
        waiting.wait().await;
        waiting.wait().await;
        session.insert("late", "change").unwrap();
        session.commit().await.unwrap();
        assert_eq!((session.get::<String>("user").unwrap(), session.id()), (None, None));
        session.insert("later", "change").unwrap();
        let refused = session.commit().await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Ended), "{refused}");
        let refused = session.update_now("number", |_: Option<u8>| Some(1)).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    });
    let site = routes().route("/curious", curious).layer(SessionLayer::new(mesh.clone()));
    let mut victim = Visitor::default();
    victim.post(&site, "/write/color/blue").await;
    let planted = victim.cookie();
    let login = async {
        gate.wait().await;
        victim.post(&site, "/login/ada").await;
        gate.wait().await;
    };
    let (answer, ()) = tokio::join!(send(&site, "POST", "/curious", planted.as_deref()), login);
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 0), "{answer:?}");
    assert_eq!(victim.get(&site, "/read/later").await, "none");
}

#[tokio::test]
async fn a_body_that_is_streamed_commits_by_hand_and_makes_no_session() {
    let mesh = mesh().await;
    let (told, outcome) = oneshot::channel();
    let told = Arc::new(std::sync::Mutex::new(Some(told)));
    let stream = post(async move |session: Session| {
        let told = told.lock().unwrap().take().unwrap();
        let chunk = async move {
            session.insert("streamed", "yes").unwrap();
            let outcome = session.commit().await.map(|commit| commit.changed);
            let _ = told.send(outcome);
            Bytes::from_static(b"chunk")
        };
        Body::new(OnceBody(Some(Box::pin(chunk)))).into_response()
    });
    let site = routes().route("/stream", stream).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    assert_eq!(visitor.post(&site, "/stream").await.body, "chunk");
    assert!(outcome.await.unwrap().unwrap());
    assert_eq!(visitor.get(&site, "/read/streamed").await, "yes");
}

#[tokio::test]
async fn after_the_head_has_left_nobody_gets_an_id_that_cannot_be_told() {
    let mesh = mesh().await;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = kept.clone();
    let route = post(async move |session: Session| *keep.lock().unwrap() = Some(session));
    let site = routes().route("/keep", route).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    for path in ["/keep", "/write/color/blue", "/keep"] {
        visitor.post(&site, path).await;
        let Some(session) = kept.lock().unwrap().take() else { continue };
        session.renew();
        let outcome = match session.insert("late", "change") {
            Ok(()) => session.commit().await.map(drop),
            refused => refused,
        };
        let refused = outcome.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::HeadSent), "{refused}");
    }
    assert_eq!((mesh.stats().sessions, visitor.get(&site, "/read/late").await.as_str()), (1, "none"));
}

#[tokio::test]
async fn the_commit_is_made_before_the_head_leaves() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let request = http::Request::builder().method("POST").uri("/write/color/blue").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    assert_eq!(mesh.stats().sessions, 1, "nobody has read the body yet");
    drop(response);
}

#[tokio::test]
async fn an_inner_option_goes_before_an_outer_one() {
    let mesh = mesh().await;
    let show = || {
        get(async |session: Session| {
            session.insert("color", "blue").unwrap();
            format!("{:?}", session.options())
        })
    };
    let held = SessionOptions::new().read(ReadConsistency::Held);
    let site = Router::new()
        .route("/plain", show())
        .route("/local", show().layer(SessionOptions::new().ack(Ack::Local)))
        .route_layer(held)
        .layer(SessionLayer::new(mesh.clone()).options(SessionOptions::new().ack(Ack::Copies(1))));
    let of = |ack| format!("{:?}", held.ack(ack));
    assert_eq!(send(&site, "GET", "/plain", None).await.body, of(Ack::Copies(1)));
    assert_eq!(send(&site, "GET", "/local", None).await.body, of(Ack::Local));
}

#[tokio::test]
async fn a_session_that_is_idle_for_too_long_is_none_and_the_next_gets_another_id() {
    let mesh = super::site::mesh_with(|builder| builder.max_inactive(Duration::from_secs(1))).await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let id = visitor.id().unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while mesh.holds_live(id) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(visitor.get(&site, "/read/color").await, "none");
    visitor.post(&site, "/write/color/red").await;
    assert_ne!(visitor.id(), Some(id));
}

/// A body of the one chunk that a future gives.
struct OnceBody(Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>);

impl HttpBody for OnceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(chunk) = &mut self.0 else { return Poll::Ready(None) };
        let chunk = ready!(chunk.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}
