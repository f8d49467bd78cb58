//! Logins with axum-login, as the mesh finds them.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend};
use sessionmesh::{Mesh, UserIndex};
use sessionmesh_axum::MeshStore;
use tower_sessions_0_14::SessionManagerLayer;

use crate::logins::are_found_and_ended;
use crate::tower_sessions::app::id_of;

#[derive(Clone, Debug)]
struct User(i64);

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.0
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"the password's hash"
    }
}

/// Everybody is who they say.
#[derive(Clone, Debug)]
struct Users;

impl AuthnBackend for Users {
    type User = User;
    type Credentials = i64;
    type Error = Infallible;

    async fn authenticate(&self, number: i64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(number)))
    }

    async fn get_user(&self, number: &i64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(*number)))
    }
}

type AuthSession = axum_login::AuthSession<Users>;

fn app(mesh: &Mesh) -> Router {
    let sessions = SessionManagerLayer::new(MeshStore::new(mesh.clone()));
    Router::new()
        .route("/login/{number}", get(login))
        .route("/logout", get(logout))
        .route(
            "/me",
            get(async |auth: AuthSession| auth.user.map_or_else(|| "nobody".to_owned(), |it| it.0.to_string())),
        )
        .layer(AuthManagerLayerBuilder::new(Users, sessions).build())
}

async fn login(mut auth: AuthSession, Path(number): Path<i64>) -> Result<(), StatusCode> {
    auth.login(&User(number)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn logout(mut auth: AuthSession) -> Result<(), StatusCode> {
    auth.logout().await.map(drop).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_axum_login_are_found_and_ended_on_every_node() {
    are_found_and_ended(UserIndex::axum_login, async |node| app(node), id_of).await;
}
