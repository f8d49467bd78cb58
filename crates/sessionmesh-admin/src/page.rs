//! The page for people, as files in the program. There are no data in them, so anybody may have them; what they show the page asks
//! for like any other program.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response};

/// Paths, kinds and contents.
pub(crate) const FILES: &[(&str, &str, &[u8])] = &[
    ("/page", "text/html; charset=utf-8", include_bytes!("page/page.html")),
    ("/page/page.css", "text/css; charset=utf-8", include_bytes!("page/page.css")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_bytes!("page/page.js")),
    ("/page/uPlot.css", "text/css; charset=utf-8", include_bytes!("page/uplot/uPlot.min.css")),
    ("/page/uPlot.js", "text/javascript; charset=utf-8", include_bytes!("page/uplot/uPlot.min.js")),
];

/// What a browser may do with the page: nothing but these files, and questions to where they come from.
const POLICY: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
);

/// The file of the page at this path (`/page`, `/page/page.js`, ...), for programs that serve the page at another address beside
/// the paths that it asks.
#[must_use]
pub fn page_file(path: &str) -> Option<Response<Bytes>> {
    let (_, kind, content) = FILES.iter().find(|(known, ..)| *known == path)?;
    let mut response = Response::new(Bytes::from_static(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(POLICY.0, POLICY.1);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        let bytes: usize = FILES.iter().map(|(_, _, content)| content.len()).sum();
        assert!(bytes < 150_000, "{bytes}");
        for (path, _, content) in FILES {
            let text = std::str::from_utf8(content).unwrap();
            // The page makes the addresses of the demo's nodes itself.
            let foreign = text
                .split("://")
                .skip(1)
                .filter(|rest| !rest.starts_with("${") && !rest.starts_with("www.w3.org"))
                .count();
            assert!(foreign == 0 || *path == "/page/uPlot.js", "{path} names an address elsewhere");
        }
        let html = std::str::from_utf8(FILES[0].2).unwrap();
        let referred = html.split(['"']).filter(|part| part.starts_with("page/"));
        for path in referred {
            assert!(page_file(&format!("/{path}")).is_some(), "{path} is there");
        }
        assert!(page_file("/page/other.js").is_none());
    }
}
