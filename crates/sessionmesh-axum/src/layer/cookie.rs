//! The cookie that carries the session id.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use ::cookie::{Cookie, CookieBuilder, CookieJar, Key, SameSite};
use http::HeaderValue;
use sessionmesh::SessionId;

/// The characters of an encoded id, and of what a signature puts before it.
const ID_CHARS: usize = 22;
const SIGNATURE_CHARS: usize = 44;

/// What the session cookie looks like, and how it is signed.
///
/// By default the cookie is called `__Host-session`, is `Secure`, `HttpOnly` and `SameSite=Lax`, has the path `/` and
/// ends with the browser. Keep a name that begins with `__Host-` where you can: browsers accept such a cookie only over
/// HTTPS and from the very same host, so no neighbour in the domain and nobody on an unencrypted line can plant one. If
/// the cookie must reach several hosts of a domain, `__Secure-` is the next best. Over plain HTTP, for tests, use
/// another name and [`secure(false)`](Self::secure).
///
/// A request may carry several cookies of this name: with other paths or domains, left behind by an older version of
/// the site, or planted by a neighbour. The layer looks at each; a value whose form or signature cannot be that of an
/// id is ignored. It takes the first cookie that belongs to a session, in the order in which the browser sends them:
/// longer paths first, then older cookies. It asks other nodes about ids that this node does not know, about at most
/// eight per request (one in a flood of unknown ids). If there are more, it begins with another one each time.
///
/// A logout ends the sessions of all these cookies, and removes all cookies that it can reach: those of the configured
/// path and domain and, if the request brought more than one, those of this very host and of the configured domain,
/// with each path above the requested one (the first four parts of the path, as the layer sees it). Cookies that were
/// set for another domain, or are `Partitioned` where this one is not, stay in the browser, but name no session any
/// more. A name that begins with `__Host-` has no such duplicates.
#[derive(Clone)]
pub struct SessionCookie {
    pub(super) name: Cow<'static, str>,
    pub(super) path: Cow<'static, str>,
    pub(super) domain: Option<Cow<'static, str>>,
    pub(super) same_site: SameSite,
    pub(super) secure: bool,
    http_only: bool,
    partitioned: bool,
    priority: Option<Priority>,
    pub(super) max_age: Option<Duration>,
    /// Without, cookies are not signed.
    key: Option<Key>,
    accepted: Vec<Key>,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self::new("__Host-session")
    }
}

impl SessionCookie {
    /// A cookie of this name, with the defaults above.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            path: Cow::Borrowed("/"),
            domain: None,
            same_site: SameSite::Lax,
            secure: true,
            http_only: true,
            partitioned: false,
            priority: None,
            max_age: None,
            key: None,
            accepted: Vec::new(),
        }
    }

    /// The path; the browser sends the cookie with it and everything below.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Sends the cookie to all hosts of this domain. By default it goes only to the host that set it, which is safer.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Whether requests from other sites carry the cookie. `Lax` (the default): only when the visitor follows a link.
    #[must_use]
    pub const fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Whether the browser sends the cookie over HTTPS only. Default true.
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether the cookie is hidden from scripts of the page. Default true.
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Keeps a separate cookie for each site that embeds this one, as in a frame (CHIPS). Browsers require `Secure` for
    /// it, and send it in a frame of another site only with `SameSite=None`. The route cookie gets the same attribute.
    /// Default false.
    #[must_use]
    pub const fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Which cookies of the site the browser drops last if there are too many. Chromium honours it, others do not.
    /// Default: [`Priority::Medium`].
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Lets the cookie outlive the browser, for this time after the last response to a request that used the session:
    /// whole seconds, at least one. It should not be shorter than the idle limit of the session. By default, the cookie
    /// ends with the browser. A session can have its own value
    /// ([`Session::set_cookie_max_age`](super::Session::set_cookie_max_age)).
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Signs the cookie (HMAC-SHA256). Ids cannot be guessed anyway. With a signature, made-up ids are detected without
    /// asking another node, and a leaked id alone is useless. All nodes need the same key. Cookies that were set
    /// earlier without a signature become invalid.
    #[must_use]
    pub fn signed(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Also accepts cookies signed with this key, for a change of keys. First every node accepts the new key; then
    /// every node signs with it and accepts the old one; drop the old key when its sessions have ended. A cookie with
    /// an old signature is replaced whenever a cookie is sent anyway. Has no effect without [`signed`](Self::signed).
    #[must_use]
    pub fn also_accepts(mut self, key: Key) -> Self {
        self.accepted.push(key);
        self
    }

    /// The id in a cookie of this name.
    pub(super) fn id(&self, value: &str) -> Option<SessionId> {
        let Some(key) = &self.key else {
            return SessionId::decode(value).ok();
        };
        if value.len() != SIGNATURE_CHARS + ID_CHARS {
            return None;
        }
        let jar = CookieJar::new();
        let verified = |key| jar.signed(key).verify(Cookie::new(self.name.clone().into_owned(), value.to_owned()));
        SessionId::decode([key].into_iter().chain(&self.accepted).find_map(verified)?.value()).ok()
    }

    /// `Set-Cookie` for session `id`, which outlives the browser by `max_age`.
    pub(super) fn give(&self, id: SessionId, max_age: Option<Duration>) -> HeaderValue {
        let cookie = self.build(id.encode());
        // What does not fit into the 400 days that browsers grant is cut there by them.
        let max_age =
            max_age.map(|age| ::cookie::time::Duration::try_from(age).unwrap_or(::cookie::time::Duration::MAX));
        let mut cookie = max_age.into_iter().fold(cookie, CookieBuilder::max_age).build();
        if let Some(key) = &self.key {
            let mut jar = CookieJar::new();
            jar.signed_mut(key).add(cookie.clone());
            cookie = jar.get(&self.name).cloned().unwrap_or(cookie);
        }
        self.header(&cookie)
    }

    /// `Set-Cookie`s that take it back; and, with the path that was asked for, also others of its name which came along.
    pub(super) fn take_back(&self, asked: Option<&str>) -> Vec<HeaderValue> {
        let expired = self.build(String::new()).max_age(::cookie::time::Duration::ZERO).build();
        let mut headers = vec![self.header(&expired)];
        // A name that browsers tie to one host and path has no others.
        let Some(asked) = asked.filter(|_| !begins_with(&self.name, "__Host-")) else { return headers };
        for domain in [None, self.domain.as_deref()] {
            for path in paths_above(asked).chain([&*self.path]) {
                let mut cookie = expired.clone();
                cookie.set_path(path.to_owned());
                cookie.unset_domain();
                if let Some(domain) = domain {
                    cookie.set_domain(domain.to_owned());
                }
                let header = self.header(&cookie);
                if !headers.contains(&header) {
                    headers.push(header);
                }
            }
        }
        headers
    }

    fn header(&self, cookie: &Cookie<'_>) -> HeaderValue {
        match self.priority {
            Some(priority) => text_of(format!("{cookie}; Priority={}", priority.name())),
            None => header(cookie),
        }
    }

    fn build(&self, value: String) -> CookieBuilder<'static> {
        self.with_scope(Cookie::build((self.name.clone().into_owned(), value))).http_only(self.http_only)
    }

    /// Where it is sent, which the route cookie shares.
    pub(super) fn with_scope(&self, cookie: CookieBuilder<'static>) -> CookieBuilder<'static> {
        let cookie = cookie.path(self.path.clone().into_owned()).same_site(self.same_site).secure(self.secure);
        let cookie = if self.partitioned { cookie.partitioned(true) } else { cookie };
        self.domain.iter().fold(cookie, |cookie, domain| cookie.domain(domain.clone().into_owned()))
    }

    /// # Errors
    ///
    /// What browsers would not take.
    pub(super) fn check(&self) -> Result<(), CookieError> {
        self.check_name(&self.name)?;
        if !self.path.starts_with('/') || !is_plain(&self.path) {
            return Err(CookieError::Path(self.path.clone().into_owned()));
        }
        match &self.domain {
            Some(domain) if domain.is_empty() || !is_plain(domain) => {
                Err(CookieError::Domain(domain.clone().into_owned()))
            }
            _ if self.same_site == SameSite::None && !self.secure => Err(CookieError::CrossSiteNotSecure),
            _ if self.partitioned && !self.secure => Err(CookieError::PartitionedNotSecure),
            _ => Ok(()),
        }
    }

    /// Whether a cookie of this name can have this scope.
    pub(super) fn check_name(&self, name: &str) -> Result<(), CookieError> {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(CookieError::Name(name.to_owned()));
        }
        let prefix = |prefix| begins_with(name, prefix);
        if prefix("__Secure-") && !self.secure {
            return Err(CookieError::SecurePrefix(name.to_owned()));
        }
        if prefix("__Host-") && (!self.secure || self.path != "/" || self.domain.is_some()) {
            return Err(CookieError::HostPrefix(name.to_owned()));
        }
        Ok(())
    }
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .field("same_site", &self.same_site)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .field("partitioned", &self.partitioned)
            .field("priority", &self.priority)
            .field("max_age", &self.max_age)
            .field("signed", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// Which cookies of a site a browser drops last if there are too many: see [`SessionCookie::priority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Dropped first.
    Low,
    /// The priority of cookies that do not set one.
    Medium,
    /// Dropped last.
    High,
}

impl Priority {
    const fn name(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

/// Whether `text` can stand in an attribute of a cookie.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() && c != ';')
}

/// Browsers do not mind the case of a prefix.
fn begins_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// So many parts of a path are tried, so that the cookies which are taken back fit into a head.
const PARTS_MAX: usize = 4;

/// The paths, with and without a final slash, whose cookies a browser sends with a request for `path`.
fn paths_above(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let ends = slashes.flat_map(|at| [at, at + 1]).chain([path.len()]).filter(|end| *end > 0);
    let mut last = 0;
    let ends = ends.filter(move |end| std::mem::replace(&mut last, *end) != *end);
    ends.map(|end| &path[..end]).take(2 * PARTS_MAX).filter(|path| is_plain(path))
}

/// The text of a checked cookie whose value is an id, a signature or a node's name.
pub(super) fn header(cookie: &Cookie<'_>) -> HeaderValue {
    text_of(cookie.to_string())
}

fn text_of(cookie: String) -> HeaderValue {
    HeaderValue::try_from(cookie).expect("names, paths and domains were checked, and values are base64")
}

/// Why browsers would refuse such a cookie. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty or has characters that a cookie's name cannot have.
    #[error("`{0}` cannot be the name of a cookie; allowed are letters, digits and !#$%&'*+-.^_`|~")]
    Name(String),
    /// The path is not a valid path.
    #[error("`{0}` cannot be the path of a cookie; a path begins with / and has no spaces or semicolons")]
    Path(String),
    /// The domain is not a valid domain.
    #[error("`{0}` cannot be the domain of a cookie")]
    Domain(String),
    /// `__Host-` requires `Secure`, the path `/`, and no domain.
    #[error(
        "browsers accept `{0}` only if it is secure, has the path / and no domain; choose another name or change these"
    )]
    HostPrefix(String),
    /// `__Secure-` requires `Secure`.
    #[error("browsers accept `{0}` only if it is secure; choose another name for plain HTTP")]
    SecurePrefix(String),
    /// `SameSite=None` requires `Secure`.
    #[error("browsers accept a cookie with SameSite=None only if it is secure")]
    CrossSiteNotSecure,
    /// `Partitioned` requires `Secure`.
    #[error("browsers accept a partitioned cookie only if it is secure")]
    PartitionedNotSecure,
    /// The session cookie and the route cookie have the same name.
    #[error("the session cookie and the route cookie cannot both be called `{0}`")]
    SameName(String),
}
