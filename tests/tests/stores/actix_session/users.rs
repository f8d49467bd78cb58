//! Logins with actix-identity, as the mesh finds them.

use std::collections::BTreeSet;

use actix_http::Request;
use actix_identity::{Identity, IdentityMiddleware};
use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::body::MessageBody;
use actix_web::cookie::Key;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, HttpMessage as _, HttpRequest, test, web};
use sessionmesh::{Mesh, SessionId, UserIndex};
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, eventually_async};

use crate::actix_session::visitor::Visitor;

async fn app(
    mesh: &Mesh,
) -> impl Service<Request, Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error> {
    let store = MeshStore::new(mesh.clone());
    let sessions = SessionMiddleware::builder(store, Key::from(&[7; 64]))
        .cookie_content_security(CookieContentSecurity::Signed)
        .build();
    let app = App::new()
        .wrap(IdentityMiddleware::default())
        .wrap(sessions)
        .route("/login/{user}", web::get().to(login))
        .route(
            "/logout",
            web::get().to(async |identity: Identity| {
                identity.logout();
                "logged out"
            }),
        )
        .route("/me", web::get().to(me));
    test::init_service(app).await
}

async fn login(request: HttpRequest, user: web::Path<String>) -> actix_web::Result<&'static str> {
    Identity::login(&request.extensions(), user.into_inner()).map_err(actix_web::error::ErrorInternalServerError)?;
    Ok("logged in")
}

async fn me(identity: Option<Identity>) -> actix_web::Result<String> {
    let name = identity.map(|identity| identity.id()).transpose()?;
    Ok(name.unwrap_or_else(|| "nobody".to_owned()))
}

fn ids(visitors: &[Visitor]) -> BTreeSet<SessionId> {
    let values = visitors.iter().filter_map(Visitor::value);
    values.map(|value| SessionId::decode(&value[44..]).expect("a signature, then the id")).collect()
}

async fn listed(node: &Mesh, user: &str) -> BTreeSet<SessionId> {
    // A busy machine may stall a node, and then it cannot tell.
    let told = async || node.sessions_of(user).await.map_err(|error| error.to_string());
    eventually_async(PATIENCE, told).await.into_iter().map(|session| session.id).collect()
}

#[actix_web::test]
async fn logins_of_actix_identity_are_found_and_ended_on_every_node() {
    for mode in MODES {
        let cluster =
            Cluster::start_with(3, move |builder| builder.mode(mode).user_index(UserIndex::actix_identity())).await;
        let mut apps = Vec::new();
        for node in cluster.nodes() {
            apps.push(app(node).await);
        }
        let (mut ada, mut bob) = (Vec::new(), Vec::new());
        for app in apps.iter().cycle().take(6) {
            for (name, visitors) in [("ada", &mut ada), ("bob", &mut bob)] {
                let mut visitor = Visitor::default();
                visitor.text(app, &format!("/login/{name}")).await;
                visitors.push(visitor);
            }
        }
        for node in cluster.nodes() {
            assert_eq!(listed(node, "ada").await, ids(&ada), "{mode:?}: {}", node.name());
            assert_eq!(listed(node, "bob").await, ids(&bob), "{mode:?}: {}", node.name());
        }
        let mut gone = ada.pop().expect("six");
        gone.text(&apps[1], "/logout").await;
        assert_eq!(listed(&cluster[0], "ada").await, ids(&ada));

        let done = cluster[1].invalidate_all("ada").await.expect("calm");
        assert_eq!((done.ended, done.unconfirmed), (5, Vec::new()), "{mode:?}");
        for app in &apps {
            for visitor in &ada {
                assert_eq!(visitor.clone().text(app, "/me").await, "nobody", "{mode:?}");
            }
            for visitor in &bob {
                assert_eq!(visitor.clone().text(app, "/me").await, "bob", "{mode:?}");
            }
        }
        assert_eq!(listed(&cluster[2], "ada").await, BTreeSet::new());
    }
}
