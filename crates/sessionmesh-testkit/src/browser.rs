//! Browsers, which keep cookies, and what they are answered.

use std::collections::BTreeMap;

use axum::Router;
use cookie::Cookie;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use hyper::header::{COOKIE, LOCATION, SET_COOKIE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    ///
    /// The body broke off.
    pub async fn of<B: Body>(response: Response<B>) -> Result<Self, B::Error> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The cookies that were set or taken back.
    ///
    /// # Panics
    ///
    /// One of them is none that a browser could read.
    pub fn cookies(&self) -> impl Iterator<Item = Cookie<'static>> {
        let set = self.headers.get_all(SET_COOKIE).iter();
        set.map(|set| Cookie::parse(set.to_str().expect("ASCII").to_owned()).expect("a name and a value"))
    }

    /// The first of these cookies.
    #[must_use]
    pub fn cookie(&self) -> Option<Cookie<'static>> {
        self.cookies().next()
    }

    /// Whether a cookie of this name was set or taken back.
    #[must_use]
    pub fn sets(&self, name: &str) -> bool {
        self.cookies().any(|cookie| cookie.name() == name)
    }

    /// Where it redirects to.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION).and_then(|to| to.to_str().ok())
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What a browser was given and gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookies(BTreeMap<String, String>);

impl Cookies {
    /// The value of a cookie.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Changes a cookie, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.0.insert(name.to_owned(), value.to_owned())),
            None => drop(self.0.remove(name)),
        }
    }

    /// The cookies, as a request has them.
    pub fn pairs(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    /// Takes what an answer gives and takes back.
    pub fn take(&mut self, answer: &Answer) {
        for cookie in answer.cookies() {
            let is_removal = cookie.value().is_empty() || cookie.max_age().is_some_and(|age| age.is_zero());
            self.set(cookie.name(), (!is_removal).then(|| cookie.value()));
        }
    }
}

/// An application that answers in this process, without a network before it.
pub trait App {
    /// Answers a request that has these `Cookie` headers.
    fn serve(&self, method: &str, uri: &str, cookies: &[String]) -> impl Future<Output = Answer>;
}

impl App for Router {
    async fn serve(&self, method: &str, uri: &str, cookies: &[String]) -> Answer {
        let request = Request::builder().method(method).uri(uri);
        let request = cookies.iter().fold(request, |request, cookie| request.header(COOKIE, cookie));
        let request = request.body(Full::<Bytes>::default()).expect("a method and a path");
        let Ok(response) = self.clone().oneshot(request).await;
        Answer::of(response).await.expect("it is in memory")
    }
}

/// A browser that visits an application, on whatever node. Clones have the same cookies, until they are given others.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// What it was given.
    pub cookies: Cookies,
}

impl Browser {
    /// A browser with this cookie.
    #[must_use]
    pub fn with_cookie(name: &str, value: &str) -> Self {
        let mut browser = Self::default();
        browser.cookies.set(name, Some(value));
        browser
    }

    /// Sends a request, and takes what cookies it gives. Each cookie goes in a header of its own, as HTTP/2 has it, behind
    /// one of another application.
    pub async fn ask(&mut self, app: &impl App, method: &str, uri: &str) -> Answer {
        let cookies: Vec<String> = self.cookies.pairs().map(|pair| format!("theme=dark; {pair}")).collect();
        let answer = app.serve(method, uri, &cookies).await;
        self.cookies.take(&answer);
        answer
    }

    /// Gets `uri`.
    pub async fn get(&mut self, app: &impl App, uri: &str) -> Answer {
        self.ask(app, "GET", uri).await
    }

    /// Posts to `uri`.
    pub async fn post(&mut self, app: &impl App, uri: &str) -> Answer {
        self.ask(app, "POST", uri).await
    }

    /// The body of a good answer.
    ///
    /// # Panics
    ///
    /// The answer is another one.
    pub async fn text(&mut self, app: &impl App, uri: &str) -> String {
        let answer = self.get(app, uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.body);
        answer.body
    }
}
