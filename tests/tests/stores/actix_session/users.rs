//! Logins with actix-identity, as the mesh finds them.

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::Key;
use actix_web::{App, HttpMessage as _, HttpRequest, test, web};
use sessionmesh::{Mesh, UserIndex};
use sessionmesh_actix::MeshStore;

use crate::actix_session::app::{Served, id_of};
use crate::logins::are_found_and_ended;

async fn app(mesh: &Mesh) -> Served {
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
    Served::new(test::init_service(app).await)
}

async fn login(request: HttpRequest, user: web::Path<String>) -> actix_web::Result<&'static str> {
    Identity::login(&request.extensions(), user.into_inner()).map_err(actix_web::error::ErrorInternalServerError)?;
    Ok("logged in")
}

async fn me(identity: Option<Identity>) -> actix_web::Result<String> {
    let name = identity.map(|identity| identity.id()).transpose()?;
    Ok(name.unwrap_or_else(|| "nobody".to_owned()))
}

#[actix_web::test]
async fn logins_of_actix_identity_are_found_and_ended_on_every_node() {
    are_found_and_ended(UserIndex::actix_identity, app, |browser| id_of(browser, "id")).await;
}
