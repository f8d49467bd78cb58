//! A small application over the session.

use std::rc::Rc;

use actix_http::Request;
use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
use actix_session::storage::SessionStore;
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::body::MessageBody;
use actix_web::cookie::{Key, time};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{guard, web};
use futures::future::LocalBoxFuture;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use sessionmesh::{Mesh, SessionId};
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::browser::{Answer, App, Browser};
use sessionmesh_testkit::gate::Gate;

use crate::actix_session::imitation::LikeRedis;
use crate::adapter::Adapter;

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "test";

/// actix-session.
#[derive(Debug)]
pub(crate) struct Actix;

impl Adapter for Actix {
    type App = Served;
    const STOCK_KEEPS_THE_ID: bool = false;

    async fn app(node: &Mesh, gate: &Gate) -> Served {
        app(MeshStore::new(node.clone()), Setup::default(), gate.clone()).await
    }

    async fn stock(gate: &Gate) -> Served {
        app(LikeRedis::default(), Setup::default(), gate.clone()).await
    }
}

/// The session that a browser knows of, from a cookie that is signed: the id comes last.
pub(crate) fn id_of(browser: &Browser, cookie: &str) -> SessionId {
    let value = browser.cookies.get(cookie).expect("it has a cookie");
    SessionId::decode(&value[value.len() - 22..]).expect("a signature, then the id")
}

/// An application of actix that runs.
pub(crate) struct Served(Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Answer>>);

impl Served {
    /// Of a service that was built.
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
        B: MessageBody,
    {
        let service = Rc::new(service);
        Self(Box::new(move |request| {
            let service = service.clone();
            Box::pin(async move { answer(service.call(request.to_request()).await).await })
        }))
    }
}

impl App for Served {
    async fn serve(&self, method: &str, uri: &str, cookies: &[String]) -> Answer {
        let method = method.parse().expect("a method");
        let request = TestRequest::with_uri(uri).method(method);
        (self.0)(cookies.iter().fold(request, |request, cookie| request.append_header(("cookie", cookie.as_str()))))
            .await
    }
}

async fn answer<B: MessageBody>(response: actix_web::Result<ServiceResponse<B>>) -> Answer {
    let status = |status: actix_web::http::StatusCode| StatusCode::from_u16(status.as_u16()).expect("a status");
    let response = match response {
        Ok(response) => response,
        // The server makes an answer of what the middleware refuses.
        Err(error) => {
            let status = status(error.as_response_error().status_code());
            return Answer { status, headers: HeaderMap::new(), body: error.to_string() };
        }
    };
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    let (status, body) = (status(response.status()), read_body(response).await);
    Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// How the middleware is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) ttl: time::Duration,
    pub(crate) policy: TtlExtensionPolicy,
    pub(crate) security: CookieContentSecurity,
}

impl Default for Setup {
    fn default() -> Self {
        let policy = TtlExtensionPolicy::OnStateChanges;
        Self { ttl: time::Duration::HOUR, policy, security: CookieContentSecurity::Signed }
    }
}

#[derive(serde::Deserialize)]
struct Ask {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: u32,
}

/// The application over any store. All have the same key for their cookies.
pub(crate) async fn app(store: impl SessionStore + 'static, setup: Setup, gate: Gate) -> Served {
    let lifecycle = PersistentSession::default().session_ttl(setup.ttl).session_ttl_extension_policy(setup.policy);
    let sessions = SessionMiddleware::builder(store, Key::from(&[7; 64]))
        .cookie_name(COOKIE.to_owned())
        .cookie_path("/".to_owned())
        .cookie_domain(Some("localhost".to_owned()))
        .cookie_content_security(setup.security)
        .session_lifecycle(lifecycle)
        .build();
    let is_logged_in = guard::fn_guard(|context| matches!(context.get_session().get::<u32>("user"), Ok(Some(_))));
    let app = actix_web::App::new()
        .wrap(sessions)
        .app_data(web::Data::new(gate))
        .route("/", web::get().to(async || "nothing"))
        .route("/put", web::get().to(put))
        .route("/get", web::get().to(read))
        .route("/remove", web::get().to(remove))
        .route("/clear", web::get().to(async |session: Session| clear(&session)))
        .route("/renew", web::get().to(async |session: Session| renew(&session)))
        .route("/logout", web::get().to(async |session: Session| purge(&session)))
        .route("/login", web::get().to(login))
        .route("/login_with_bytes", web::get().to(login_with_bytes))
        .route("/login_with_depth", web::get().to(login_with_depth))
        .route("/slow_put", web::get().to(slow_put))
        .route("/slow_renew", web::get().to(slow_renew))
        .route("/slow_login", web::get().to(slow_login))
        .service(web::scope("/protected").guard(is_logged_in).route("/get", web::get().to(read)));
    Served::new(init_service(app).await)
}

fn clear(session: &Session) -> &'static str {
    session.clear();
    "cleared"
}

fn renew(session: &Session) -> &'static str {
    session.renew();
    "renewed"
}

fn purge(session: &Session) -> &'static str {
    session.purge();
    "purged"
}

async fn put(session: Session, ask: web::Query<Ask>) -> actix_web::Result<&'static str> {
    session.insert(ask.key.as_str(), ask.value)?;
    Ok("written")
}

async fn read(session: Session, ask: web::Query<Ask>) -> actix_web::Result<String> {
    let value = session.get::<u32>(&ask.key)?;
    Ok(value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
}

async fn remove(session: Session, ask: web::Query<Ask>) -> &'static str {
    session.remove(&ask.key);
    "removed"
}

async fn login(session: Session) -> actix_web::Result<&'static str> {
    session.insert("user", 1)?;
    session.renew();
    Ok("logged in")
}

/// The login stores a text of so many bytes, too.
async fn login_with_bytes(session: Session, ask: web::Query<Ask>) -> actix_web::Result<&'static str> {
    session.insert("profile", "x".repeat(ask.value as usize))?;
    login(session).await
}

/// The login stores a list that is nested so deep, too.
async fn login_with_depth(session: Session, ask: web::Query<Ask>) -> actix_web::Result<&'static str> {
    let nested = (1..ask.value).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
    session.insert("menu", nested)?;
    login(session).await
}

async fn slow_put(session: Session, ask: web::Query<Ask>, gate: web::Data<Gate>) -> actix_web::Result<&'static str> {
    gate.pass().await;
    session.insert(ask.key.as_str(), ask.value)?;
    Ok("written")
}

async fn slow_renew(session: Session, gate: web::Data<Gate>) -> &'static str {
    gate.pass().await;
    session.renew();
    "renewed"
}

async fn slow_login(session: Session, gate: web::Data<Gate>) -> actix_web::Result<&'static str> {
    gate.pass().await;
    login(session).await
}
