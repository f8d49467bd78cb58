//! The service of the layer: before and after the handler.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::response::{IntoResponse, Response};
use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::error::Reason;
use super::settings::Site;
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
        let visit = Arc::new(Visit::new(self.site.clone()));
        request.extensions_mut().insert(visit.clone());
        SessionFuture { stage: Stage::Serving { serving: self.inner.call(request), visit: Some(visit) } }
    }
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
                        Some(visit) if visit.has_work(response.status()) => Box::pin(finish(visit, response)),
                        Some(visit) => {
                            visit.sign_off(response.headers_mut());
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
    match visit.commit().await {
        Ok(_) => {}
        // Logged out, or renewed elsewhere, while the request was under way: nobody is served worse by this response.
        Err(Reason::Ended) => tracing::debug!("the session ended before its request did; its changes are dropped"),
        Err(reason) => response = visit.error(reason).into_response(),
    }
    visit.sign_off(response.headers_mut());
    response
}
