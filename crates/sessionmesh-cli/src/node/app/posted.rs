//! What was posted, by a form or as JSON.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::{Form, Json};
use serde::de::DeserializeOwned;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Posted<T> {
    pub(super) sent: T,
    /// By a form, so that a page is to follow.
    pub(super) form: bool,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if is_form(request.headers()) {
            let form = Form::from_request(request, state).await.map_err(|refused| refused.into_response())?;
            return Ok(Self { sent: form.0, form: true });
        }
        let json = Json::from_request(request, state).await.map_err(|refused| refused.into_response())?;
        Ok(Self { sent: json.0, form: false })
    }
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}
