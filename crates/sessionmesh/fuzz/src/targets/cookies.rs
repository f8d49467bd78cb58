//! The cookies of a request to the layer for axum, and its path.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use sessionmesh::SessionId;
use sessionmesh_axum::fuzzing::{ReadCookies, read_cookies, set_cookie, take_back};
use sessionmesh_axum::{Key, SessionCookie};

use crate::{Outcome, Target};

/// What reads cookies: an id stands in the request; with a key it was signed; what is set is read again; and whatever the
/// path is, the cookies that are taken back are headers. Each line of the input is a `Cookie` header; the last one is the path, too.
pub const TARGET: Target = Target { name: "cookies", check, seeds };

/// As in the layer.
const IDS_MAX: usize = 256;

fn check(bytes: &[u8]) -> Outcome {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(COOKIE, line);
    }
    let (plain, signed) = (SessionCookie::new("session").domain("example.org"), signed());
    let all = read_cookies(&headers, &plain);
    let proven = read_cookies(&headers, &signed);
    for ReadCookies { ids, named, .. } in [&all, &proven] {
        assert!(ids.len() <= IDS_MAX && ids.len() <= *named && *named <= bytes.len());
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "each id counts once");
    }
    assert!(all.ids.iter().all(|id| stands_in(bytes, id)));
    assert!(proven.ids.iter().all(|id| ids().contains(id)), "nobody else has signed an id");
    for (cookie, id) in [(&plain, all.ids.first()), (&signed, proven.ids.first())] {
        let Some(id) = id else { continue };
        let set = set_cookie(cookie, *id);
        let sent = set.to_str().expect("a cookie is text").split(';').next().unwrap_or_default().to_owned();
        let again = HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(sent).expect("it was a header"))]);
        assert_eq!(read_cookies(&again, cookie).ids, [*id]);
    }
    if let Some(Ok(path)) = bytes.rsplit(|byte| *byte == b'\n').next().map(str::from_utf8) {
        let taken = take_back(&plain, path);
        assert!((1..=20).contains(&taken.len()));
        assert!(taken.iter().all(|header| header.as_bytes().starts_with(b"session=; ")));
    }
    Outcome::of(!all.ids.is_empty() || !proven.ids.is_empty())
}

fn stands_in(bytes: &[u8], id: &SessionId) -> bool {
    let text = id.encode();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// With a key of nobody: it stands here.
fn signed() -> SessionCookie {
    let key = |byte: u8| Key::from(&[byte; 64]);
    SessionCookie::new("session").signed(key(1)).also_accepts(key(2))
}

/// The ids of which there are signed cookies.
fn ids() -> [SessionId; 2] {
    [1, 2].map(|byte| SessionId::from_bytes([byte; 16]).heir())
}

fn seeds() -> Vec<Vec<u8>> {
    let [one, two] = ids();
    let sent = |cookie: &SessionCookie, id| {
        let set = set_cookie(cookie, id);
        set.to_str().expect("a cookie is text").split(';').next().unwrap_or_default().to_owned()
    };
    let plain = SessionCookie::new("session");
    let (first, second) = (sent(&plain, one), sent(&plain, two));
    let old = SessionCookie::new("session").signed(Key::from(&[2; 64]));
    let texts = [
        first.clone(),
        format!("theme=dark; {first}; route=web-1; {second}; {first}"),
        format!("{first}\n{second}; route=web-2\n/shop/cart/items?page=2"),
        sent(&signed(), one),
        format!("session=; {}; session=x", sent(&old, two)),
        format!("; ;=;session; {first};\n//a//b///"),
    ];
    texts.map(String::into_bytes).to_vec()
}
