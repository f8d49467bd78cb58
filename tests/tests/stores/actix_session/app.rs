//! A small application over the session.

use actix_http::Request;
use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
use actix_session::storage::SessionStore;
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::body::MessageBody;
use actix_web::cookie::{Key, time};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, guard, test, web};
pub(crate) use sessionmesh_testkit::gate::Gate;

/// An application that tests can send requests to.
pub(crate) trait Served:
    Service<Request, Response = ServiceResponse<Self::Body>, Error = actix_web::Error>
{
    type Body: MessageBody;
}

impl<S, B> Served for S
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    type Body = B;
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
pub(crate) async fn app(
    store: impl SessionStore + 'static,
    setup: Setup,
    gate: Gate,
) -> impl Service<Request, Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error> {
    let lifecycle = PersistentSession::default().session_ttl(setup.ttl).session_ttl_extension_policy(setup.policy);
    let sessions = SessionMiddleware::builder(store, Key::from(&[7; 64]))
        .cookie_name("test".to_owned())
        .cookie_path("/".to_owned())
        .cookie_domain(Some("localhost".to_owned()))
        .cookie_content_security(setup.security)
        .session_lifecycle(lifecycle)
        .build();
    let is_logged_in = guard::fn_guard(|context| matches!(context.get_session().get::<u32>("user"), Ok(Some(_))));
    let app = App::new()
        .wrap(sessions)
        .app_data(web::Data::new(gate))
        .route("/", web::get().to(async || "nothing"))
        .route("/put", web::get().to(put))
        .route("/get", web::get().to(read))
        .route("/remove", web::get().to(remove))
        .route("/clear", web::get().to(async |session: Session| clear(&session)))
        .route("/renew", web::get().to(async |session: Session| renew(&session)))
        .route("/purge", web::get().to(async |session: Session| purge(&session)))
        .route("/login", web::get().to(login))
        .route("/login_with_bytes", web::get().to(login_with_bytes))
        .route("/login_with_depth", web::get().to(login_with_depth))
        .route("/slow_put", web::get().to(slow_put))
        .route("/slow_renew", web::get().to(slow_renew))
        .route("/slow_login", web::get().to(slow_login))
        .service(web::scope("/protected").guard(is_logged_in).route("/get", web::get().to(read)));
    test::init_service(app).await
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
