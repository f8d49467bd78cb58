//! Who may ask: whoever has the token, and programs and pages of this machine.
//!
//! A browser on this machine can be made to ask, too, by a page of anybody: it sends `Origin` then, or comes under the name of
//! that page's host if its DNS says that this is 127.0.0.1 (DNS rebinding). Both are refused.

use std::fmt;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, FORWARDED, HOST, HeaderName, ORIGIN};
use http::uri::{Authority, Uri};
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The fewest characters of a token: 16 random bytes in base64 have 22.
const TOKEN_CHARS_MIN: usize = 22;

/// What a caller from elsewhere must present. It is wiped when it is dropped.
pub struct Token(Zeroizing<String>);

/// A token that anybody could guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token needs {TOKEN_CHARS_MIN} printable characters or more, without spaces; `openssl rand -base64 24` makes one"
)]
#[non_exhaustive]
pub struct WeakToken;

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token of these characters.
    ///
    /// # Errors
    ///
    /// It could be guessed.
    pub fn new(text: impl Into<String>) -> Result<Self, WeakToken> {
        let text = Zeroizing::new(text.into());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if printable && text.len() >= TOKEN_CHARS_MIN { Ok(Self(text)) } else { Err(WeakToken) }
    }

    fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

/// Who asks, as the log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// It has the token.
    Token(Option<IpAddr>),
    /// It is on this machine.
    Local,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(Some(from)) => write!(f, "{from}, with the token"),
            Self::Token(None) => f.write_str("somebody with the token"),
            Self::Local => f.write_str("this machine"),
        }
    }
}

/// Why somebody may not ask. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There is no token, and it does not come from this machine.
    #[error(
        "a token is needed here, as `Authorization: Bearer TOKEN`; without one, ask from the machine of the node itself"
    )]
    NoToken,
    /// There is another one.
    #[error("this is not the token of this node")]
    WrongToken,
    /// It comes under a name that is not this machine's.
    #[error(
        "without the token, ask for `localhost` or `127.0.0.1`: the name in `Host` could be that of a foreign page"
    )]
    ForeignHost,
    /// A page of another site asks through a browser of this machine.
    #[error("a page of another site may not ask")]
    ForeignOrigin,
}

impl Denied {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }
}

/// Whether this request may be answered. `from`: where its connection comes from; none if that is not known.
pub(crate) fn check(
    headers: &HeaderMap,
    uri: &Uri,
    from: Option<IpAddr>,
    token: Option<&Token>,
) -> Result<Caller, Denied> {
    if let Some(presented) = headers.get(AUTHORIZATION) {
        let presented = presented.to_str().ok().and_then(|text| text.split_once(' '));
        let bearer = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match (bearer, token) {
            (Some((_, presented)), Some(token)) if token.is(presented.trim()) => Ok(Caller::Token(from)),
            _ => Err(Denied::WrongToken),
        };
    }
    is_this_machine(headers, uri, from).map(|()| Caller::Local)
}

/// Whether a request comes from a program or an own page of this machine: for other addresses than the admin's that only they may
/// use.
///
/// # Errors
///
/// Why not.
pub fn is_this_machine(headers: &HeaderMap, uri: &Uri, from: Option<IpAddr>) -> Result<(), Denied> {
    let is_local = from.is_some_and(|ip| ip.to_canonical().is_loopback());
    if !is_local || is_passed_on(headers) {
        return Err(Denied::NoToken);
    }
    let host = host(headers, uri).filter(|host| is_local_name(host.host())).ok_or(Denied::ForeignHost)?;
    match headers.get(ORIGIN) {
        Some(origin) if !is_of(origin.to_str().unwrap_or_default(), &host) => Err(Denied::ForeignOrigin),
        _ => Ok(()),
    }
}

/// A proxy on this machine asks for somebody who may be anywhere.
fn is_passed_on(headers: &HeaderMap) -> bool {
    let by = [FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];
    by.iter().any(|name| headers.contains_key(name))
}

fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let mut named = headers.get_all(HOST).iter();
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok()?.parse().ok(),
        // HTTP/2 has it in the URI.
        (None, None) => uri.authority().cloned(),
        _ => None,
    }
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// Whether a page of `origin` is one of this very address.
fn is_of(origin: &str, host: &Authority) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let plain = origin.scheme_str() == Some("http") && matches!(origin.path(), "" | "/");
    plain && origin.authority().is_some_and(|authority| authority == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdefghijkl";

    fn asks(from: &str, headers: &[(&'static str, &str)]) -> Result<Caller, Denied> {
        let token = Token::new(SECRET).unwrap();
        let pair = |&(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        check(&headers.iter().map(pair).collect(), &Uri::from_static("/v1/members"), from.parse().ok(), Some(&token))
    }

    #[test]
    fn the_machine_itself_may_ask_under_its_own_name() {
        for host in ["localhost:7777", "LOCALHOST", "127.0.0.1:7777", "[::1]:7777"] {
            assert_eq!(asks("127.0.0.1", &[("host", host)]), Ok(Caller::Local), "{host}");
        }
        let own = [("host", "localhost:7777"), ("origin", "http://localhost:7777")];
        assert_eq!(asks("::1", &own), Ok(Caller::Local), "its own page");
    }

    #[test]
    fn who_is_elsewhere_needs_the_token_and_the_right_one() {
        let host = ("host", "localhost");
        assert_eq!(asks("192.0.2.1", &[host]), Err(Denied::NoToken));
        assert_eq!(asks("", &[host]), Err(Denied::NoToken), "nobody knows from where");
        assert_eq!(asks("127.0.0.1", &[host, ("x-forwarded-for", "192.0.2.1")]), Err(Denied::NoToken));
        let with = |from, token: &str| asks(from, &[("host", "web-1:7777"), ("authorization", token)]);
        assert_eq!(with("192.0.2.1", &format!("Bearer {SECRET}")), Ok(Caller::Token("192.0.2.1".parse().ok())));
        assert_eq!(with("192.0.2.1", &format!("bearer  {SECRET}")), Ok(Caller::Token("192.0.2.1".parse().ok())));
        for wrong in ["Bearer 0123456789abcdefghijkm", "Bearer", "Bearer ", "Basic abc", SECRET] {
            assert_eq!(with("192.0.2.1", wrong), Err(Denied::WrongToken), "{wrong}");
            assert_eq!(with("127.0.0.1", wrong), Err(Denied::WrongToken), "nor on this machine: {wrong}");
        }
    }

    #[test]
    fn pages_of_others_may_not_ask_through_a_browser_of_this_machine() {
        assert_eq!(asks("127.0.0.1", &[("host", "evil.example:7777")]), Err(Denied::ForeignHost));
        assert_eq!(asks("127.0.0.1", &[("host", "localhost.evil.example")]), Err(Denied::ForeignHost));
        assert_eq!(asks("127.0.0.1", &[]), Err(Denied::ForeignHost));
        for origin in ["http://evil.example", "null", "http://localhost:8080", "https://localhost:7777", ""] {
            let asked = asks("127.0.0.1", &[("host", "localhost:7777"), ("origin", origin)]);
            assert_eq!(asked, Err(Denied::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        assert!(Token::new("secret").is_err());
        assert!(Token::new(format!("{SECRET} ")).is_err());
        assert!(Token::new(SECRET).is_ok());
        assert!(!format!("{:?}", Token::new(SECRET)).contains(SECRET));
    }
}
