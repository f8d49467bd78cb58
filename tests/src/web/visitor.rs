//! A visitor: one connection that is kept alive, and the cookies that it was given.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::time::timeout;

use super::node::ROUTE_COOKIE;

/// How long a visitor would wait. Longer than any balancer here tries.
const PATIENCE: Duration = Duration::from_secs(10);
/// The cookie with the session id.
const SESSION: &str = "SESSIONID";

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Which node answered, if a node did.
    #[must_use]
    pub fn served_by(&self) -> Option<&str> {
        self.body["served_by"].as_str().or_else(|| self.body["node"].as_str())
    }

    /// How often the visitor has been seen.
    #[must_use]
    pub fn visits(&self) -> Option<u64> {
        self.body["visits"].as_u64()
    }
}

/// A browser. A request is sent once: what fails here would have been seen by a visitor.
#[derive(Debug)]
pub struct Visitor {
    to: SocketAddr,
    user: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Visitor {
    /// A visitor without cookies.
    #[must_use]
    pub fn new(to: SocketAddr, user: &str) -> Self {
        Self { to, user: user.to_owned(), connection: None, cookies: BTreeMap::new() }
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
        self.cookies.get(SESSION).map(String::as_str)
    }

    /// The node that the route cookie names.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.cookies.get(ROUTE_COOKIE).map(String::as_str)
    }

    /// Sends this route cookie, until a node gives another one.
    pub fn set_route(&mut self, name: &str) {
        self.cookies.insert(ROUTE_COOKIE.to_owned(), name.to_owned());
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

    /// `POST /logout`. The cookie is kept, to see what it is still worth.
    ///
    /// # Errors
    ///
    /// There was no answer.
    pub async fn log_out(&mut self) -> Result<Answer, String> {
        let session = self.cookies.get(SESSION).cloned();
        let answer = self.ask("POST", "/logout", None).await;
        self.cookies.extend(session.map(|id| (SESSION.to_owned(), id)));
        answer
    }

    /// Forgets the session, as a browser that was closed.
    pub fn forget(&mut self) {
        self.cookies.remove(SESSION);
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
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let response = self.connected().await?.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = Answer { status: head.status, body: serde_json::from_slice(&body).unwrap_or_default() };
        self.take_cookies(&head.headers);
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

    fn take_cookies(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = cookie.split(';').next().unwrap_or_default();
            match pair.split_once('=') {
                Some((name, "")) => drop(self.cookies.remove(name)),
                Some((name, value)) => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                None => {}
            }
        }
    }
}
