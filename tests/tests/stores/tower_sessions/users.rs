//! Logins with axum-login, as the mesh finds them.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend};
use sessionmesh::{Mesh, SessionId, UserIndex};
use sessionmesh_axum::MeshStore;
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, eventually_async};
use tower_sessions_0_14::SessionManagerLayer;

use crate::tower_sessions::visitor::Visitor;

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

async fn visitor(app: &Router, number: i64) -> Visitor {
    let mut visitor = Visitor::default();
    visitor.text(app, &format!("/login/{number}")).await;
    visitor
}

fn ids(visitors: &[Visitor]) -> BTreeSet<SessionId> {
    let cookies = visitors.iter().filter_map(|visitor| visitor.cookie.as_deref());
    cookies.map(|cookie| SessionId::decode(cookie).expect("a session id")).collect()
}

async fn listed(node: &Mesh, user: &str) -> BTreeSet<SessionId> {
    // A busy machine may stall a node, and then it cannot tell.
    let told = async || node.sessions_of(user).await.map_err(|error| error.to_string());
    eventually_async(PATIENCE, told).await.into_iter().map(|session| session.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_axum_login_are_found_and_ended_on_every_node() {
    for mode in MODES {
        let cluster =
            Cluster::start_with(3, move |builder| builder.mode(mode).user_index(UserIndex::axum_login())).await;
        let apps: Vec<_> = cluster.nodes().iter().map(app).collect();
        let (mut ada, mut bob) = (Vec::new(), Vec::new());
        for app in apps.iter().cycle().take(6) {
            ada.push(visitor(app, 7).await);
            bob.push(visitor(app, 77).await);
        }
        for node in cluster.nodes() {
            assert_eq!(listed(node, "7").await, ids(&ada), "{mode:?}: {}", node.name());
            assert_eq!(listed(node, "77").await, ids(&bob), "{mode:?}: {}", node.name());
        }
        let mut gone = ada.pop().expect("six");
        gone.text(&apps[1], "/logout").await;
        assert_eq!(listed(&cluster[0], "7").await, ids(&ada));

        let done = cluster[1].invalidate_all("7").await.expect("calm");
        assert_eq!((done.ended, done.unconfirmed), (5, Vec::new()), "{mode:?}");
        for app in &apps {
            for visitor in &ada {
                assert_eq!(visitor.clone().text(app, "/me").await, "nobody", "{mode:?}");
            }
            for visitor in &bob {
                assert_eq!(visitor.clone().text(app, "/me").await, "77", "{mode:?}");
            }
        }
        assert_eq!(listed(&cluster[2], "7").await, BTreeSet::new());
    }
}
