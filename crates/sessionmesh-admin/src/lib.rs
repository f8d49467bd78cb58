//! See and steer a [Sessionmesh](sessionmesh) cluster: health for probes, metrics for Prometheus, and an API under `/v1`.
//!
//! [`Admin::answer`] answers a request of the `http` crate, whatever server it comes through. The features `axum` and `actix`
//! make a `Router` or a scope of it, and `sessionmesh node --admin ADDR` serves it by itself.
//!
//! ```no_run
//! use std::net::IpAddr;
//!
//! use sessionmesh::Mesh;
//! use sessionmesh_admin::{Admin, Request, Token};
//!
//! # async fn example(mesh: Mesh, parts: http::request::Parts, body: bytes::Bytes, from: IpAddr) -> Result<(), Box<dyn std::error::Error>> {
//! let admin = Admin::new(mesh).token(Token::new(std::env::var("ADMIN_TOKEN")?)?);
//! let response = admin.answer(&Request { parts, body, from: Some(from) }).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may ask
//!
//! Programs and pages of the machine itself, by `localhost` or a loopback address, and whoever has the token
//! (`Authorization: Bearer TOKEN`). `/livez` and `/readyz` answer everybody, since probes come from elsewhere and have no token: they
//! say in words how the node is, with names of nodes and numbers of sessions, and nothing of any session. Nor are there data in the
//! files of the page. Every change is logged with who asked for it.
//!
//! # What there is
//!
//! | | |
//! |---|---|
//! | `GET /page` | a page for people: members, slots, rates, a session, what happened; it works offline |
//! | `GET /livez` | 200 while the process is of use; 503: start it again |
//! | `GET /readyz` | 200 while visitors should be sent here, else 503 with the reason in words |
//! | `GET /metrics` | for Prometheus, if [`Admin::metrics`] was given a recorder |
//! | `GET /openapi.json` | a description of all this for programs |
//! | `GET /v1/health` | the state with all findings |
//! | `GET /v1/members` | the members, and the link to each |
//! | `GET /v1/slots` | the owners of all 4096 slots |
//! | `GET /v1/stats` | what this node holds and has done |
//! | `GET /v1/config` | the settings of this node, where each comes from, and what is in force; secrets are hidden |
//! | `GET /v1/events` | events as they come, for `EventSource`: `?figures=true` adds stats and members once a second, `?sessions=true` the events of single sessions |
//! | `POST /v1/sessions/find` | one session: its owners, and the copy of each member |
//! | `POST /v1/sessions/end` | ends it |
//! | `POST /v1/users/find`, `POST /v1/users/end` | the sessions of a user |
//! | `POST /v1/drain` | hands over and stops, if [`Admin::on_drain`] was given a way |
//!
//! A session id is what logs a visitor in, so it is in the body of a request and never in its address, which proxies log; and no
//! answer has one, but a short hash.

mod access;
#[cfg(feature = "actix")]
pub mod actix;
mod answer;
#[cfg(feature = "axum")]
pub mod axum;
mod events;
mod page;
mod show;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use sessionmesh::Mesh;

pub use access::{Denied, Token, WeakToken, is_this_machine};
pub use events::EventStream;
use events::Open;
pub use page::page_file;

/// Answers requests about one node. Clones are cheap.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    mesh: Mesh,
    token: Option<Arc<Token>>,
    reveal: bool,
    metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    drain: Option<Arc<dyn Fn() + Send + Sync>>,
    open: Arc<Open>,
}

/// The body of an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// It comes bit by bit, until the node stops or nobody listens any more.
    Events(EventStream),
}

/// A request, as the server got it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub parts: Parts,
    /// Its body. Read at most [`BODY_BYTES_MAX`] of it, and answer 413 to more.
    pub body: Bytes,
    /// Where its connection comes from; none if the server does not know. Then the token is needed.
    pub from: Option<IpAddr>,
}

/// The largest body that a request may have.
pub const BODY_BYTES_MAX: usize = 16 << 10;

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("node", &self.0.mesh.name())
            .field("reveal", &self.0.reveal)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// Answers this machine only, shows no values of sessions, and has neither metrics nor a way to drain.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self(Arc::new(Inner { mesh, token: None, reveal: false, metrics: None, drain: None, open: Arc::default() }))
    }

    /// Answers whoever has this token, too.
    #[must_use]
    pub fn token(self, token: Token) -> Self {
        self.with(|inner| inner.token = Some(Arc::new(token)))
    }

    /// Whether the values of a session may be shown to who asks for them. They are what visitors have stored: think of
    /// addresses and baskets. Every such look is logged.
    #[must_use]
    pub fn reveal(self, reveal: bool) -> Self {
        self.with(|inner| inner.reveal = reveal)
    }

    /// Answers `/metrics` with this text: `render` of the recorder that the program has installed. The states of the node are
    /// brought up to date before.
    #[must_use]
    pub fn metrics(self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.metrics = Some(Arc::new(render)))
    }

    /// What `/v1/drain` does: begin to hand over and stop, as at a signal, without waiting for it.
    #[must_use]
    pub fn on_drain(self, drain: impl Fn() + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.drain = Some(Arc::new(drain)))
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
