//! A login with actix-identity that survives the node it was made on.
//!
//! ```sh
//! cargo run -p sessionmesh-actix --example actix_identity
//! cargo run -p sessionmesh-actix --example actix_identity -- 127.0.0.1:3001
//! ```
//!
//! The two nodes find each other by multicast on loopback. Each prints what to try with curl.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::SessionMiddleware;
use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_web::cookie::Key;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, Responder, web};
use sessionmesh::{Discovery, Mesh, UserIndex};
use sessionmesh_actix::MeshStore;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let at: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000").parse()?;
    // Started here, the mesh runs as long as `main` does; the workers below have runtimes of their own.
    let discovery = Discovery::multicast();
    let mesh = Mesh::builder().name(format!("app-{}", at.port())).cluster("actix-identity").discovery(discovery);
    // So that the mesh knows whose a session is, on all nodes alike.
    let mesh = mesh.user_index(UserIndex::actix_identity()).start().await?;
    mesh.ready().await;

    let (store, data) = (MeshStore::new(mesh.clone()), web::Data::new(mesh.clone()));
    let server = HttpServer::new(move || {
        let lifecycle = PersistentSession::default().session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        // Every node has the same key, from its configuration. This one is only good for an example, as is plain HTTP.
        let sessions = SessionMiddleware::builder(store.clone(), Key::from(&[0; 64]))
            .session_lifecycle(lifecycle)
            .cookie_secure(false)
            .build();
        App::new()
            .wrap(IdentityMiddleware::default())
            .wrap(sessions)
            .app_data(data.clone())
            .route("/login", web::post().to(login))
            .route("/me", web::get().to(me))
            .route("/logout", web::post().to(logout))
            .route("/logout-everywhere", web::post().to(logout_everywhere))
    });
    let server = server.bind(at)?;
    let at = server.addrs().first().copied().unwrap_or(at);
    introduce(at, &mesh);
    server.run().await?;
    // Hands all sessions over, so that nobody is logged out by a deploy.
    mesh.leave(Duration::from_secs(10)).await?;
    Ok(())
}

#[derive(serde::Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

async fn login(request: HttpRequest, credentials: web::Form<Credentials>) -> actix_web::Result<impl Responder> {
    // The only user is ada. A real application asks a database, and compares hashes of passwords.
    if credentials.name != "ada" || credentials.password != "lovelace" {
        return Ok(HttpResponse::Unauthorized().body("wrong name or password\n"));
    }
    // Gives the session another id, too.
    Identity::login(&request.extensions(), credentials.into_inner().name)
        .map_err(actix_web::error::ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().body("logged in\n"))
}

async fn me(identity: Option<Identity>) -> actix_web::Result<String> {
    let name = identity.map(|identity| identity.id()).transpose()?;
    Ok(format!("you are {}\n", name.as_deref().unwrap_or("nobody")))
}

async fn logout(identity: Identity) -> &'static str {
    identity.logout();
    "logged out, on every node\n"
}

/// Ends all sessions of the user, on every node: other browsers and devices, too, and those of whoever stole a cookie.
async fn logout_everywhere(identity: Identity, mesh: web::Data<Mesh>) -> actix_web::Result<String> {
    // While the cluster changes it may not know of all: then the user shall try again, and still can.
    let all = mesh.invalidate_all(&identity.id()?).await.map_err(actix_web::error::ErrorServiceUnavailable)?;
    // This one has ended with the others; now its cookie goes, too.
    identity.logout();
    Ok(format!("logged out of {} sessions, on every node\n", all.ended))
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
