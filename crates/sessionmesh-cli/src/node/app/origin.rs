//! Other sites may not act in a visitor's name.
//!
//! `SameSite=Lax` keeps the cookie off what other sites post. This is the second lock: browsers say by `Sec-Fetch-Site`, or
//! before that by `Origin`, whose page posts. Programs say neither.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;

/// Refuses what a page of another site sends, unless it only reads.
pub(super) async fn own_pages_only(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || is_own(request.headers()) {
        return next.run(request).await;
    }
    Problem::Foreign.into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return true };
    // Without the ports: balancers may drop them, and cookies do not tell them apart either.
    let origin = origin.parse::<Uri>().ok().and_then(|origin| Some(origin.host()?.to_owned()));
    let host = text(HOST.as_str()).and_then(|host| Some(host.parse::<Authority>().ok()?.host().to_owned()));
    origin.is_some() && origin == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(headers: &[(&str, &str)]) -> bool {
        let pair =
            |&(name, value): &(&str, &str)| (name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        is_own(&headers.iter().map(pair).collect())
    }

    #[test]
    fn only_pages_of_this_site_and_programs_may_post() {
        assert!(own(&[]), "a program");
        assert!(own(&[("sec-fetch-site", "same-origin"), ("origin", "https://shop"), ("host", "inside:81")]));
        assert!(own(&[("origin", "http://shop:8080"), ("host", "shop:8080")]));
        assert!(own(&[("origin", "http://[::1]:8080"), ("host", "[::1]")]));
        assert!(!own(&[("sec-fetch-site", "cross-site")]));
        assert!(!own(&[("sec-fetch-site", "same-site"), ("origin", "http://shop"), ("host", "shop")]));
        assert!(!own(&[("origin", "http://evil"), ("host", "shop")]));
        assert!(!own(&[("origin", "null"), ("host", "shop")]));
        assert!(!own(&[("origin", "http://shop")]));
    }
}
