//! A visitor: one connection that is kept alive, and the cookies that it was given.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::time::timeout;

use crate::browser::{Answer, Cookies};
use crate::site::ROUTE;

/// How long a visitor would wait. Longer than any balancer here tries.
const PATIENCE: Duration = Duration::from_secs(10);
/// The cookie with the session id.
const SESSION: &str = "SESSIONID";

/// What the example application answers.
impl Answer {
    /// Which node answered, if a node did.
    #[must_use]
    pub fn served_by(&self) -> Option<String> {
        let body = self.json();
        let node = body["served_by"].as_str().or_else(|| body["node"].as_str());
        node.map(str::to_owned)
    }

    /// How often the visitor has been seen.
    #[must_use]
    pub fn visits(&self) -> Option<u64> {
        self.json()["visits"].as_u64()
    }
}

/// A browser. A request is sent once: what fails here would have been seen by a visitor.
#[derive(Debug)]
pub struct Visitor {
    to: SocketAddr,
    user: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: Cookies,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Visitor {
    /// A visitor without cookies.
    #[must_use]
    pub fn new(to: SocketAddr, user: &str) -> Self {
        Self { to, user: user.to_owned(), connection: None, cookies: Cookies::default() }
    }

    /// The same visitor, with the same cookies, at another address.
    #[must_use]
    pub fn moved_to(&self, to: SocketAddr) -> Self {
        Self { to, user: self.user.clone(), connection: None, cookies: self.cookies.clone() }
    }

    /// The name under which the visitor logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The session id in the cookie.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.cookies.get(SESSION)
    }

    /// The node that the route cookie names.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.cookies.get(ROUTE)
    }

    /// Sends this route cookie, until a node gives another one.
    pub fn set_route(&mut self, name: &str) {
        self.cookies.set(ROUTE, Some(name));
    }

    /// `POST /login`.
    ///
    /// # Errors
    ///
    /// There was no answer.
    pub async fn log_in(&mut self) -> Result<Answer, String> {
        let body = json!({ "user": self.user });
        self.ask("POST", "/login", Some(&body)).await
    }

    /// `GET /session`, which counts the visit.
    ///
    /// # Errors
    ///
    /// There was no answer.
    pub async fn visit(&mut self) -> Result<Answer, String> {
        self.ask("GET", "/session", None).await
    }

    /// A visit while logged in, which must succeed at the first try.
    ///
    /// # Panics
    ///
    /// There was no answer, or it is not meant for this user.
    pub async fn is_seen(&mut self) -> Answer {
        let answer = self.visit().await.unwrap_or_else(|error| panic!("{}: {error}", self.user));
        assert_eq!(answer.status, StatusCode::OK, "{}: {answer:?}", self.user);
        assert_eq!(answer.json()["user"], *self.user, "{answer:?}");
        answer
    }

    /// `POST /logout`. The cookie is kept, to see what it is still worth.
    ///
    /// # Errors
    ///
    /// There was no answer.
    pub async fn log_out(&mut self) -> Result<Answer, String> {
        let session = self.session().map(str::to_owned);
        let answer = self.ask("POST", "/logout", None).await;
        self.cookies.set(SESSION, session.as_deref());
        answer
    }

    /// Forgets the session, as a browser that was closed.
    pub fn forget(&mut self) {
        self.cookies.set(SESSION, None);
    }

    /// A request.
    ///
    /// # Errors
    ///
    /// There was no answer: the connection was refused or broke, or it took too long.
    pub async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let answer = match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(answer) => answer.map_err(|error| format!("no answer to {method} {path}: {error}")),
            Err(_) => Err(format!("no answer to {method} {path} within {PATIENCE:?}")),
        };
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Trouble> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "shop.example");
        let cookies: Vec<String> = self.cookies.pairs().collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let response = self.connected().await?.send_request(request).await?;
        let answer = Answer::of(response).await?;
        self.cookies.take(&answer);
        Ok(answer)
    }

    /// The connection of before, unless the other side has closed it since.
    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Trouble> {
        let alive = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !alive {
            let stream = TokioNetwork.connect(self.to).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the sender, and its errors come back through it.
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        Ok(self.connection.as_mut().expect("it was just made, or is alive"))
    }
}
