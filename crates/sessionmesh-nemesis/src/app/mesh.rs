//! The application on Sessionmesh's own layer.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use sessionmesh::{Discovery, Mesh, Mode};
use sessionmesh_axum::{Session, SessionCookie, SessionError, SessionLayer};

use super::{LAST, Login, Number, ServeArgs, USER, none, own, serve_until_told, told};

/// How long a planned stop may hand over.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let mode = args.backups.map_or(Mode::AllToAll, |backups| Mode::PrimaryBackup { backups });
    let mut config = sessionmesh::Config::default();
    config.name = args.name;
    config.bind = args.bind;
    config.secret_file = args.secret_file;
    config.mode = mode;
    let mesh = Mesh::builder().config(config).discovery(Discovery::seeds(args.seeds)).start().await?;
    mesh.ready().await;
    let layer = SessionLayer::new(mesh.clone())
        .cookie(SessionCookie::new("id").secure(false))?
        .refuse_fewer_copies(args.refuse_fewer_copies);
    let app = Router::new()
        .route("/login", post(login))
        .route("/write", post(write))
        .route("/read", get(read))
        .route("/logout", post(logout))
        .layer(layer)
        .merge(Router::new().route("/status", get(status)).with_state(mesh.clone()));
    let failure = async {
        let failure = mesh.failed().await;
        eprintln!("the node failed: {failure}");
    };
    if !serve_until_told(args.http, app, failure).await? {
        return Ok(ExitCode::from(3));
    }
    // 4, as `sessionmesh node` has it: sessions ended with this node.
    Ok(match mesh.leave(LEAVES_WITHIN).await {
        Ok(left) if left.ended == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(4),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// What the session shows; none: there is no session.
fn shown(session: &Session, copies: Option<usize>) -> Result<Option<String>, SessionError> {
    let Some(user) = session.get::<String>(USER)? else { return Ok(None) };
    let last = session.get::<u64>(LAST)?;
    Ok(Some(told(copies, &user, last, session.keys().iter())))
}

async fn login(session: Session, Query(Login { user }): Query<Login>) -> Result<String, SessionError> {
    session.renew();
    session.insert(USER, &user)?;
    let copies = session.commit().await?.copies;
    Ok(told(Some(copies), &user, None, std::iter::empty::<&str>()))
}

/// Answers with what was there before.
async fn write(session: Session, Query(Number { n }): Query<Number>) -> Result<Response, SessionError> {
    let Some(before) = shown(&session, None)? else { return Ok(none().into_response()) };
    session.insert(&own(n), &n)?;
    session.insert(LAST, &n)?;
    let copies = session.commit().await?.copies;
    Ok(format!("copies={copies} {before}").into_response())
}

async fn read(session: Session) -> Result<Response, SessionError> {
    Ok(shown(&session, None)?.map_or_else(|| none().into_response(), IntoResponse::into_response))
}

async fn logout(session: Session) -> Result<Response, SessionError> {
    if shown(&session, None)?.is_none() {
        return Ok(none().into_response());
    }
    let copies = session.invalidate().await?.copies;
    Ok(format!("copies={copies}").into_response())
}

/// Whether this node is at rest, in its own words.
async fn status(State(mesh): State<Mesh>) -> (StatusCode, String) {
    let stats = mesh.stats();
    let members = mesh.members().len();
    let (ready, outbox, suspected, suspicions) =
        (mesh.is_ready(), stats.outbox, mesh.suspected().len(), stats.suspicions);
    let text = format!("ready={ready} members={members} outbox={outbox} suspected={suspected} suspicions={suspicions}");
    (StatusCode::OK, text)
}
