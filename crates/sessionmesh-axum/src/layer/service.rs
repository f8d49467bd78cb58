//! The service of the layer: before and after the handler.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::response::{IntoResponse, Response};
use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::error::ErrorKind;
use super::options::SessionOptions;
use super::site::Site;
use super::visit::Visit;

/// The service of [`SessionLayer`](super::SessionLayer).
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    site: Arc<Site>,
}

impl<S> SessionService<S> {
    pub(super) const fn new(inner: S, site: Arc<Site>) -> Self {
        Self { inner, site }
    }
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = SessionFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.site.ignores(request.uri()) {
            return SessionFuture { stage: Stage::Serving { serving: self.inner.call(request), visit: None } };
        }
        let around = request.extensions().get::<Arc<Visit>>().cloned();
        if let Some(visit) = joined(around.as_ref(), &self.site) {
            // The layer that made it commits, and sets the cookie.
            let extensions = request.extensions_mut();
            extensions.insert(visit);
            let outer = extensions.get::<SessionOptions>().copied().unwrap_or_default();
            extensions.insert(self.site.options.or(outer));
            return SessionFuture { stage: Stage::Serving { serving: self.inner.call(request), visit: None } };
        }
        let visit = Arc::new(Visit::new(self.site.clone(), request.uri().clone(), around));
        request.extensions_mut().insert(visit.clone());
        SessionFuture { stage: Stage::Serving { serving: self.inner.call(request), visit: Some(visit) } }
    }
}

/// The visit of a layer around this one that has the same cookie and mesh.
fn joined(around: Option<&Arc<Visit>>, site: &Site) -> Option<Arc<Visit>> {
    let mut visits = std::iter::successors(around, |visit| visit.outer.as_ref());
    visits.find(|visit| visit.site.is_same(site)).cloned()
}

pin_project! {
    /// The future of [`SessionService`]. Only a request that has something to commit needs a box.
    #[derive(Debug)]
    pub struct SessionFuture<F> {
        #[pin]
        stage: Stage<F>,
    }
}

type Finishing = Pin<Box<dyn Future<Output = Response> + Send>>;

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        Serving { #[pin] serving: F, visit: Option<Arc<Visit>> },
        Finishing { finishing: Finishing },
    }
}

impl<F> fmt::Debug for Stage<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving { .. } => "Serving",
            Self::Finishing { .. } => "Finishing",
        })
    }
}

impl<F, R, E> Future for SessionFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let finishing = match self.as_mut().project().stage.project() {
                StageProjection::Finishing { finishing } => return finishing.as_mut().poll(context).map(Ok),
                StageProjection::Serving { serving, visit } => {
                    let mut response = ready!(serving.poll(context))?.into_response();
                    match visit.take().filter(|visit| visit.is_used()) {
                        None => return Poll::Ready(Ok(response)),
                        Some(visit) if visit.has_work(response.status()) || visit.must_look() => {
                            Box::pin(finish(visit, response))
                        }
                        Some(visit) => {
                            visit.state().drop_changes();
                            visit.write_headers(response.headers_mut());
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
            };
            self.as_mut().project().stage.set(Stage::Finishing { finishing });
        }
    }
}

/// Commits what the request changed, then lets the head go.
async fn finish(visit: Arc<Visit>, mut response: Response) -> Response {
    let committed = if visit.has_work(response.status()) { Some(visit.commit().await) } else { None };
    if !matches!(committed, Some(Ok(_))) {
        visit.state().drop_changes();
    }
    match committed {
        // Logged out, or renewed by another request: nobody is served worse by this response.
        Some(Err(reason @ (ErrorKind::Ended | ErrorKind::Renewed))) => {
            tracing::debug!(%reason, "another request ended or renewed the session; this request's changes are dropped");
        }
        Some(Err(reason)) => response = visit.error(reason).into_response(),
        Some(Ok(_)) | None => {}
    }
    visit.look_again().await;
    visit.write_headers(response.headers_mut());
    response
}
