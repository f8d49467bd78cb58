//! The cookie that carries the session id.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use sessionmesh::SessionId;

const NAME: &str = "SESSIONID";

/// The session that the visitor claims. What is no session id counts as no cookie.
pub(crate) fn read(headers: &HeaderMap) -> Option<SessionId> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.trim() == NAME).find_map(|(_, value)| SessionId::decode(value.trim()).ok())
}

/// `Set-Cookie` for a session. A site with HTTPS adds `Secure`.
pub(crate) fn give(id: SessionId) -> HeaderValue {
    header(&format!("{NAME}={}; HttpOnly; SameSite=Lax; Path=/", id.encode()))
}

/// `Set-Cookie` after a logout.
pub(crate) fn take_back() -> HeaderValue {
    header(&format!("{NAME}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"))
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an encoded id is base64url")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(cookies: &[&str]) -> Option<SessionId> {
        read(&cookies.iter().map(|text| (COOKIE, HeaderValue::from_str(text).unwrap())).collect())
    }

    #[test]
    fn the_id_is_found_among_other_cookies() {
        let id = SessionId::from_bytes([7; 16]);
        let ours = format!("SESSIONID={}", id.encode());
        assert_eq!(from(&[&ours]), Some(id));
        assert_eq!(from(&[&format!("theme=dark;{ours} ; x=y=z")]), Some(id));
        assert_eq!(from(&["a=b", &ours]), Some(id));
        assert_eq!(from(&[&format!("SESSIONID=stale; {ours}")]), Some(id));
    }

    #[test]
    fn what_is_no_id_is_no_cookie() {
        let long = format!("SESSIONID={}", "A".repeat(5_000));
        for other in ["", "SESSIONID", "SESSIONID=", "SESSIONID=../etc", "sessionid=AAAAAAAAAAAAAAAAAAAAAA", &long] {
            assert_eq!(from(&[other]), None, "{other}");
        }
    }

    #[test]
    fn what_is_given_is_read_back() {
        let id = SessionId::from_bytes([0xA5; 16]);
        let given = give(id);
        assert_eq!(from(&[given.to_str().unwrap().split(';').next().unwrap()]), Some(id));
        assert!(take_back().to_str().unwrap().contains("Max-Age=0"));
    }
}
