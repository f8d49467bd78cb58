//! A small application over the session, once for each version of tower-sessions.

use std::fmt::Debug;

use axum::Router;
use sessionmesh::{Mesh, SessionId};
use sessionmesh_axum::MeshStore;
use sessionmesh_testkit::browser::Browser;
use sessionmesh_testkit::gate::Gate;

use crate::adapter::Adapter;

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "id";

/// The session that a browser knows of.
pub(crate) fn id_of(browser: &Browser) -> SessionId {
    SessionId::decode(browser.cookies.get(COOKIE).expect("it has a cookie")).expect("a session id")
}

/// How the session layer is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// Ends after so much inactivity; without, with the browser's session.
    pub(crate) inactivity: Option<time::Duration>,
    pub(crate) domain: Option<&'static str>,
    pub(crate) always_save: bool,
}

/// A version of tower-sessions.
pub(crate) trait Version: Debug {
    /// The application over the sessions of a mesh.
    fn app(store: MeshStore, setup: Setup, gate: &Gate) -> Router;
    /// The same over the stock store, to show that a test can fail.
    fn stock(gate: &Gate) -> Router;
    /// Creates a record that comes with the id `id`, and returns the id that it got.
    fn create(store: &MeshStore, id: i128) -> impl Future<Output = i128>;
}

impl<V: Version> Adapter for V {
    type App = Router;
    const STOCK_KEEPS_THE_ID: bool = true;

    async fn app(node: &Mesh, gate: &Gate) -> Router {
        <Self as Version>::app(MeshStore::new(node.clone()), Setup::default(), gate)
    }

    async fn stock(gate: &Gate) -> Router {
        <Self as Version>::stock(gate)
    }
}

/// What a request asks for.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: u32,
}

macro_rules! version {
    ($name:ident, $module:ident, $tower_sessions:ident) => {
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Version for $name {
            fn app(store: MeshStore, setup: Setup, gate: &Gate) -> Router {
                $module::app(store, setup, gate)
            }

            fn stock(gate: &Gate) -> Router {
                $module::app($tower_sessions::MemoryStore::default(), Setup::default(), gate)
            }

            async fn create(store: &MeshStore, id: i128) -> i128 {
                use $tower_sessions::session::{Id, Record};
                let expiry_date = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
                let mut record = Record { id: Id(id), data: std::collections::HashMap::new(), expiry_date };
                $tower_sessions::SessionStore::create(store, &mut record).await.expect("calm");
                record.id.0
            }
        }

        mod $module {
            use axum::Router;
            use axum::extract::{Query, State};
            use axum::http::StatusCode;
            use axum::routing::get;
            use $tower_sessions::session::Error;
            use $tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

            use super::{Ask, Gate, Setup};

            struct Failed(Error);

            impl From<Error> for Failed {
                fn from(error: Error) -> Self {
                    Self(error)
                }
            }

            impl axum::response::IntoResponse for Failed {
                fn into_response(self) -> axum::response::Response {
                    (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
                }
            }

            pub(super) fn app(store: impl SessionStore + Clone, setup: Setup, gate: &Gate) -> Router {
                let mut layer = SessionManagerLayer::new(store).with_always_save(setup.always_save);
                if let Some(inactivity) = setup.inactivity {
                    layer = layer.with_expiry(Expiry::OnInactivity(inactivity));
                }
                if let Some(domain) = setup.domain {
                    layer = layer.with_domain(domain);
                }
                Router::new()
                    .route("/", get(async || ""))
                    .route("/put", get(put))
                    .route("/get", get(read))
                    .route("/remove", get(remove))
                    .route("/renew", get(async |session: Session| Ok::<_, Failed>(session.cycle_id().await?)))
                    .route("/logout", get(async |session: Session| Ok::<_, Failed>(session.flush().await?)))
                    .route("/clear", get(async |session: Session| session.clear().await))
                    .route("/expire_in_a_day", get(expire_in_a_day))
                    .route("/expire_with_the_browser", get(expire_with_the_browser))
                    .route("/expire_now", get(expire_now))
                    .route("/save_twice", get(save_twice))
                    .route("/slow_put", get(slow_put))
                    .route("/slow_renew", get(slow_renew))
                    .route("/slow_login", get(slow_login))
                    .route("/login", get(login))
                    .route("/renew_slowly", get(renew_slowly))
                    .route("/login_with_bytes", get(login_with_bytes))
                    .route("/login_with_depth", get(login_with_depth))
                    .route("/put_depth", get(put_depth))
                    .route("/save_twice_slowly", get(save_twice_slowly))
                    .layer(layer)
                    .with_state(gate.clone())
            }

            async fn put(session: Session, Query(ask): Query<Ask>) -> Result<(), Failed> {
                Ok(session.insert(&ask.key, ask.value).await?)
            }

            async fn read(session: Session, Query(ask): Query<Ask>) -> Result<String, Failed> {
                let value = session.get::<u32>(&ask.key).await?;
                Ok(value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
            }

            async fn remove(session: Session, Query(ask): Query<Ask>) -> Result<(), Failed> {
                session.remove_value(&ask.key).await?;
                Ok(())
            }

            async fn expire_in_a_day(session: Session) {
                session.set_expiry(Some(Expiry::OnInactivity(time::Duration::DAY)));
            }

            async fn expire_with_the_browser(session: Session) {
                session.set_expiry(Some(Expiry::OnSessionEnd));
            }

            async fn expire_now(session: Session) {
                session.set_expiry(Some(Expiry::AtDateTime(time::OffsetDateTime::UNIX_EPOCH)));
            }

            async fn save_twice(session: Session) -> Result<(), Failed> {
                session.insert("kept", 1).await?;
                session.insert("passing", 1).await?;
                session.save().await?;
                session.remove_value("passing").await?;
                Ok(())
            }

            async fn slow_put(
                State(gate): State<Gate>,
                session: Session,
                Query(ask): Query<Ask>,
            ) -> Result<(), Failed> {
                session.get_value("any").await?;
                gate.pass().await;
                Ok(session.insert(&ask.key, ask.value).await?)
            }

            async fn slow_renew(
                State(gate): State<Gate>,
                session: Session,
                Query(ask): Query<Ask>,
            ) -> Result<(), Failed> {
                session.get_value("any").await?;
                gate.pass().await;
                session.cycle_id().await?;
                if !ask.key.is_empty() {
                    session.insert(&ask.key, ask.value).await?;
                }
                Ok(())
            }

            async fn slow_login(State(gate): State<Gate>, session: Session) -> Result<(), Failed> {
                session.get_value("any").await?;
                gate.pass().await;
                login(session).await
            }

            async fn login(session: Session) -> Result<(), Failed> {
                session.cycle_id().await?;
                Ok(session.insert("user", 1).await?)
            }

            /// The login stores a text of so many bytes, too.
            async fn login_with_bytes(session: Session, Query(ask): Query<Ask>) -> Result<(), Failed> {
                session.insert("profile", "x".repeat(ask.value as usize)).await?;
                login(session).await
            }

            /// The login stores a list that is nested so deep, too.
            async fn login_with_depth(session: Session, query: Query<Ask>) -> Result<(), Failed> {
                put_depth(session.clone(), query).await?;
                login(session).await
            }

            async fn put_depth(session: Session, Query(ask): Query<Ask>) -> Result<(), Failed> {
                let nested = (1..ask.value).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
                session.insert_value("menu", nested).await?;
                Ok(())
            }

            async fn save_twice_slowly(State(gate): State<Gate>, session: Session) -> Result<(), Failed> {
                session.insert("passing", 1).await?;
                session.save().await?;
                gate.pass().await;
                session.remove_value("passing").await?;
                Ok(())
            }

            async fn renew_slowly(State(gate): State<Gate>, session: Session) -> Result<(), Failed> {
                session.cycle_id().await?;
                gate.pass().await;
                Ok(())
            }
        }
    };
}

version!(V0_14, v0_14, tower_sessions_0_14);
version!(V0_15, v0_15, tower_sessions_0_15);
