//! What can go wrong with a request's session, and what the visitor sees then.

use std::fmt;
use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::header::{ACCEPT, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use sessionmesh::{CommitError, CreateError, LoadError, ValueError};

/// What the visitor sees instead of a line of text.
pub(super) type ErrorPage = dyn Fn(&SessionError, &RequestHead) -> Response + Send + Sync;

/// Why the session could not be found, read or stored. As a response it is the [error
/// page](super::SessionLayer::error_page) of the site, so handlers can pass it on with `?`.
pub struct SessionError {
    kind: ErrorKind,
    page: Option<Arc<Page>>,
}

/// What exactly went wrong, whether anything was changed, and the status that the visitor sees.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 503: it is not known whether the visitor's session exists. Nothing was changed, and the visitor is not logged
    /// out: the cookie stays.
    #[error(transparent)]
    CannotTell(Arc<LoadError>),
    /// 503: this node creates no more sessions. None was created.
    #[error(transparent)]
    Full(Arc<CreateError>),
    /// 401: the session has ended, or another request has renewed its id and taken over what this request had stored
    /// until then. Nothing more is stored. Only calls that the handler awaits return this; the commit at the end of a
    /// request ignores it.
    #[error("the session has ended or was renewed by another request; nothing was changed")]
    Ended,
    /// 409: another request has just renewed the id that this request came with. Nothing of this request is stored. The
    /// visitor has a session, and the browser gets its cookie with the response to the other request: let it send this
    /// request again. Only calls that the handler awaits return this; the commit at the end of a request ignores it.
    #[error("another request has just renewed the session's id; nothing of this request was stored, send it again")]
    Renewed,
    /// 503: the id could not be renewed in time. The old id stays valid, without the changes.
    #[error("the session's id could not be renewed: {}; the old id stays valid, nothing was changed", not_renewed(.0))]
    NotRenewed(Arc<CommitError>),
    /// The commit failed. 503 for [`CommitError::Left`], and for a change that was made with [too few
    /// copies](super::SessionLayer::refuse_fewer_copies); 500 for all other errors, such as a limit.
    #[error(transparent)]
    Commit(Arc<CommitError>),
    /// 500: a value does not fit its type. Nothing was changed.
    #[error(transparent)]
    Value(Arc<ValueError>),
    /// 500: the head of the response has left, so the visitor can get no new id. Nothing was changed.
    #[error("the head of the response has left, so no session can be created or renewed; nothing was changed")]
    HeadSent,
    /// 500: there is no session here, because no [`SessionLayer`](super::SessionLayer) is around this route, or it
    /// [ignores](super::SessionLayer::ignore_paths) this request.
    #[error("there is no SessionLayer around this route, or it ignores this request")]
    NoLayer,
}

impl ErrorKind {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::CannotTell(_) | Self::Full(_) | Self::NotRenewed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Commit(error) if error.was_made() || matches!(**error, CommitError::Left) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Ended => StatusCode::UNAUTHORIZED,
            Self::Renewed => StatusCode::CONFLICT,
            Self::Commit(_) | Self::Value(_) | Self::HeadSent | Self::NoLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What was wrong with the new session, which was taken back: what the error says of a change that stays is not true of it.
fn not_renewed(error: &CommitError) -> String {
    match error {
        CommitError::TimedOut { copies } => format!("the new session had only {copies} copies at the deadline"),
        CommitError::NoOtherNode => "there is no other node to hold a copy, and `strict` asks for one".to_owned(),
        CommitError::TooFewCopies { copies, wanted } => format!("the new session had {copies} of {wanted} copies"),
        other => other.to_string(),
    }
}

impl From<ValueError> for ErrorKind {
    fn from(error: ValueError) -> Self {
        Self::Value(Arc::new(error))
    }
}

/// What the visitor asked for, for an error page in the right form.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The URI, as the router that holds the handler sees it.
    pub uri: Uri,
    /// The header `Accept`.
    pub accept: Option<HeaderValue>,
}

impl RequestHead {
    pub(super) fn of(parts: &Parts) -> Self {
        let accept = parts.headers.get(ACCEPT).cloned();
        Self { method: parts.method.clone(), uri: parts.uri.clone(), accept }
    }

    /// Whether the visitor takes HTML, as a browser does.
    #[must_use]
    pub fn accepts_html(&self) -> bool {
        self.accept.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains("text/html"))
    }
}

/// The page of the site, for one request.
pub(super) struct Page {
    pub(super) show: Arc<ErrorPage>,
    pub(super) asked: RequestHead,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl SessionError {
    pub(super) const fn new(kind: ErrorKind, page: Option<Arc<Page>>) -> Self {
        Self { kind, page }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The status of the response: 503 (come again), 409 (come again with the new cookie), 401 (the session has ended)
    /// or 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let status = self.status();
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => tracing::error!(error = %self.kind, "session"),
            StatusCode::SERVICE_UNAVAILABLE => tracing::warn!(error = %self.kind, "session"),
            _ => tracing::debug!(error = %self.kind, "session"),
        }
        if let Some(page) = &self.page {
            return (page.show)(&self, &page.asked);
        }
        // What is wrong inside is for the log.
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                (status, [(RETRY_AFTER, "1")], "Your session cannot be reached right now. Please try again.\n")
                    .into_response()
            }
            StatusCode::CONFLICT => {
                (status, [(RETRY_AFTER, "1")], "Your session was renewed just now. Please try again.\n").into_response()
            }
            StatusCode::UNAUTHORIZED => (status, "Your session has ended.\n").into_response(),
            _ => (status, "Something went wrong with your session.\n").into_response(),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Debug for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionError").field(&self.kind).finish()
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}
