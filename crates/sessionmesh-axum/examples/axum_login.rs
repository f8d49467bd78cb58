//! A login with axum-login that survives the node it was made on.
//!
//! ```sh
//! cargo run -p sessionmesh-axum --example axum_login --features tower-sessions-0_14
//! cargo run -p sessionmesh-axum --example axum_login --features tower-sessions-0_14 -- 127.0.0.1:3001
//! ```
//!
//! The two nodes find each other by multicast on loopback. Each prints what to try with curl.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId, login_required};
use sessionmesh::{Discovery, Mesh, UserIndex};
use sessionmesh_axum::MeshStore;
use tower_sessions_0_14::{Expiry, SessionManagerLayer};

type AuthSession = axum_login::AuthSession<Users>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let at: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000").parse()?;
    let (listener, at) = listen(at).await?;
    let discovery = Discovery::multicast();
    let mesh = Mesh::builder().name(format!("app-{}", at.port())).cluster("axum-login").discovery(discovery);
    // So that the mesh knows whose a session is, on all nodes alike.
    let mesh = mesh.user_index(UserIndex::axum_login()).start().await?;
    mesh.ready().await;

    let sessions = SessionManagerLayer::new(MeshStore::new(mesh.clone()))
        // For plain HTTP, as here. Leave it out in production.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)));
    let auth = AuthManagerLayerBuilder::new(Users, sessions).build();
    let app = Router::new()
        .route("/me", get(me))
        .route("/logout", post(logout))
        .route("/logout-everywhere", post(logout_everywhere))
        .route_layer(login_required!(Users))
        .route("/login", post(login))
        .layer(auth)
        .with_state(mesh.clone());

    introduce(at, &mesh);
    serve(listener, app).with_graceful_shutdown(stopped()).await?;
    // Hands all sessions over, so that nobody is logged out by a deploy.
    mesh.leave(Duration::from_secs(10)).await?;
    Ok(())
}

async fn login(mut auth: AuthSession, Form(credentials): Form<Credentials>) -> Result<&'static str, StatusCode> {
    let user = auth.authenticate(credentials).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    // Gives the session another id, too.
    auth.login(&user).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("logged in\n")
}

async fn me(auth: AuthSession) -> String {
    let user = auth.user.map_or_else(|| "nobody".to_owned(), |user| user.name);
    format!("you are {user}\n")
}

async fn logout(mut auth: AuthSession) -> Result<&'static str, StatusCode> {
    auth.logout().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("logged out, on every node\n")
}

/// Ends all sessions of the user, on every node: other browsers and devices, too, and those of whoever stole a cookie.
async fn logout_everywhere(State(mesh): State<Mesh>, mut auth: AuthSession) -> Result<String, StatusCode> {
    let user = auth.user.as_ref().ok_or(StatusCode::UNAUTHORIZED)?.name.clone();
    // While the cluster changes it may not know of all: then the user shall try again, and still can.
    let all = mesh.invalidate_all(&user).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    // This one has ended with the others; now its cookie goes, too.
    auth.logout().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("logged out of {} sessions, on every node\n", all.ended))
}

/// The only user is ada. A real backend asks a database, and compares hashes of passwords.
#[derive(Clone, Debug)]
struct Users;

#[derive(Clone, Debug)]
struct User {
    name: String,
}

#[derive(Clone, serde::Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

impl Users {
    fn user(name: &str) -> Option<User> {
        (name == "ada").then(|| User { name: name.to_owned() })
    }
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    /// A login ends when this changes: the hash of the password, if there is one.
    fn session_auth_hash(&self) -> &[u8] {
        b"lovelace"
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(&self, credentials: Credentials) -> Result<Option<User>, Infallible> {
        Ok(Self::user(&credentials.name).filter(|_| credentials.password == "lovelace"))
    }

    async fn get_user(&self, name: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(Self::user(name))
    }
}

fn introduce(at: SocketAddr, mesh: &Mesh) {
    let nodes: Vec<String> = mesh.members().iter().map(|member| member.name.to_string()).collect();
    println!(
        "node {} at http://{at}, together with {nodes:?}. Try:\n\n  \
         curl -c jar -b jar -d 'name=ada&password=lovelace' http://{at}/login\n  \
         curl -c jar -b jar http://{at}/me\n  \
         curl -c jar -b jar -X POST http://{at}/logout\n  \
         curl -c jar -b jar -X POST http://{at}/logout-everywhere\n\n\
         and, with the same jar or another, on a second node (give it another address, such as 127.0.0.1:3001).",
        mesh.name()
    );
}

async fn stopped() {
    // Without a signal handler the node just stops when it is killed.
    let _ = tokio::signal::ctrl_c().await;
}

#[allow(clippy::disallowed_types, reason = "the application's HTTP is no traffic of the mesh")]
async fn listen(at: SocketAddr) -> std::io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = tokio::net::TcpListener::bind(at).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}
