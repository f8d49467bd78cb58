//! Why a request fails. None of these takes the visitor's cookie away.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sessionmesh_axum::{ErrorKind, SessionError};

/// What went wrong. As a response it is JSON, and goes along with it for a page instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotLoggedIn,
    Refused(String),
    /// Another site's page sent it.
    Foreign,
    /// It may work in a moment.
    Later(String),
    Failed(String),
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotLoggedIn => StatusCode::UNAUTHORIZED,
            Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Foreign => StatusCode::FORBIDDEN,
            Self::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::NotLoggedIn => "not logged in",
            Self::Foreign => "only this site's own pages may do that",
            Self::Refused(why) | Self::Later(why) | Self::Failed(why) => why,
        }
    }
}

impl From<&SessionError> for Problem {
    fn from(error: &SessionError) -> Self {
        match error.kind() {
            ErrorKind::Ended => Self::NotLoggedIn,
            _ if error.status() == StatusCode::SERVICE_UNAVAILABLE => Self::Later(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "error": self.text() }))).into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
