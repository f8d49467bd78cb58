//! A browser's view of the application: it sends its cookie, and takes the one that it is given.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use cookie::Cookie;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// What the application answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    /// The cookie that it set.
    pub(crate) cookie: Option<Cookie<'static>>,
}

/// One browser. Clones have the same cookie, until they are given another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    pub(crate) cookie: Option<String>,
}

impl Visitor {
    /// A visitor with a cookie of this value.
    pub(crate) fn with_cookie(value: &str) -> Self {
        Self { cookie: Some(value.to_owned()) }
    }

    /// Sends a request and takes the cookie of its answer.
    pub(crate) async fn get(&mut self, app: &Router, uri: &str) -> Reply {
        let mut request = Request::builder().uri(uri);
        if let Some(value) = &self.cookie {
            request = request.header(header::COOKIE, format!("id={value}"));
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("a router does not fail");
        let cookie = response.headers().get(header::SET_COOKIE).map(|value| {
            Cookie::parse(value.to_str().expect("cookies are ASCII").to_owned()).expect("a cookie").into_owned()
        });
        if let Some(cookie) = &cookie {
            let is_removal = cookie.max_age() == Some(time::Duration::ZERO);
            self.cookie = (!is_removal).then(|| cookie.value().to_owned());
        }
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Reply { status, body: String::from_utf8_lossy(&body).into_owned(), cookie }
    }

    /// The body of a good answer.
    pub(crate) async fn text(&mut self, app: &Router, uri: &str) -> String {
        let reply = self.get(app, uri).await;
        assert_eq!(reply.status, StatusCode::OK, "{uri}: {}", reply.body);
        reply.body
    }
}
