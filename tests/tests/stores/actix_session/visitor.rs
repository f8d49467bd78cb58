//! A browser's view of the application: it sends its cookie, and takes the one that it is given.

use actix_http::Request;
use actix_web::body::MessageBody;
use actix_web::cookie::Cookie;
use actix_web::cookie::time::Duration;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, read_body};

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
    pub(crate) cookie: Option<Cookie<'static>>,
}

impl Visitor {
    /// Sends a request and takes the cookie of its answer.
    pub(crate) async fn get<S, B>(&mut self, app: &S, uri: &str) -> Reply
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let mut request = TestRequest::with_uri(uri);
        if let Some(cookie) = &self.cookie {
            request = request.cookie(cookie.clone());
        }
        let response = match app.call(request.to_request()).await {
            Ok(response) => response,
            // The server makes an answer of what the middleware refuses.
            Err(error) => {
                let status = error.as_response_error().status_code();
                return Reply { status, body: error.to_string(), cookie: None };
            }
        };
        let cookie = response.response().cookies().next().map(Cookie::into_owned);
        if let Some(cookie) = &cookie {
            let is_removal = cookie.max_age() == Some(Duration::ZERO);
            self.cookie = (!is_removal).then(|| cookie.clone());
        }
        let status = response.status();
        let body = read_body(response).await;
        Reply { status, body: String::from_utf8_lossy(&body).into_owned(), cookie }
    }

    /// The body of a good answer.
    pub(crate) async fn text<S, B>(&mut self, app: &S, uri: &str) -> String
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let reply = self.get(app, uri).await;
        assert_eq!(reply.status, StatusCode::OK, "{uri}: {}", reply.body);
        reply.body
    }

    /// What the cookie holds.
    pub(crate) fn value(&self) -> Option<&str> {
        self.cookie.as_ref().map(Cookie::value)
    }
}
