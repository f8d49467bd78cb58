//! What can differ from route to route.

use std::task::{Context, Poll};

use http::Request;
use sessionmesh::{Ack, ReadConsistency};
use tower_layer::Layer;
use tower_service::Service;

/// The read consistency and the acknowledgement of a route, where they differ from the rest.
///
/// For the whole site, see [`SessionLayer::options`](super::SessionLayer::options). For some routes, `SessionOptions`
/// is a layer of its own, inside the [`SessionLayer`](super::SessionLayer). An inner layer overrides an outer one;
/// options that it leaves unset come from the outer one.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use sessionmesh::{Ack, Mesh, ReadConsistency};
/// # use sessionmesh_axum::{Session, SessionLayer, SessionOptions};
/// # async fn ticker(_: Session) {}
/// # async fn order(_: Session) {}
/// # fn example(mesh: Mesh) -> Router {
/// Router::new()
///     .route("/ticker", get(ticker).layer(SessionOptions::new().ack(Ack::Local).read(ReadConsistency::Held)))
///     .route("/order", get(order))
///     .layer(SessionLayer::new(mesh))
/// # }
/// ```
///
/// The options apply where the session is extracted: if a middleware outside this layer extracts the session, it is
/// loaded with the options that apply there. A renewal and a logout always wait for the configured acknowledgement of
/// the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    pub(super) ack: Option<Ack>,
    pub(super) read: Option<ReadConsistency>,
}

impl SessionOptions {
    /// Options that leave everything unset.
    #[must_use]
    pub const fn new() -> Self {
        Self { ack: None, read: None }
    }

    /// What the commit at the end of the request waits for. Default: the configured acknowledgement of the mesh. With
    /// [`Ack::Local`], a change is lost if this node crashes in the next moments, and the next request on another node
    /// may not see it.
    #[must_use]
    pub const fn ack(mut self, ack: Ack) -> Self {
        self.ack = Some(ack);
        self
    }

    /// How current the read must be. Default: [`ReadConsistency::Current`]. Mind the risk of [`ReadConsistency::Held`]:
    /// it may miss a logout.
    #[must_use]
    pub const fn read(mut self, read: ReadConsistency) -> Self {
        self.read = Some(read);
        self
    }

    /// These, and what they do not say from `outer`.
    pub(super) fn or(self, outer: Self) -> Self {
        Self { ack: self.ack.or(outer.ack), read: self.read.or(outer.read) }
    }
}

impl<S> Layer<S> for SessionOptions {
    type Service = SessionOptionsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionOptionsService { inner, options: *self }
    }
}

/// The service of [`SessionOptions`].
#[derive(Clone, Copy, Debug)]
pub struct SessionOptionsService<S> {
    inner: S,
    options: SessionOptions,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for SessionOptionsService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        let outer = extensions.get::<SessionOptions>().copied().unwrap_or_default();
        extensions.insert(self.options.or(outer));
        self.inner.call(request)
    }
}
