//! Logging in and out, for browsers (forms) and for programs (JSON).

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use sessionmesh_axum::Session;

use super::posted::{Posted, is_form};
use super::problem::Problem;
use super::{App, page};

/// The longest user name, in bytes.
const USER_BYTES_MAX: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct Login {
    user: String,
}

/// The id is another one than before the login, so that nobody who planted the old one is logged in too; the cart goes
/// along.
pub(super) async fn login(
    State(app): State<App>,
    session: Session,
    Posted { sent: Login { user }, form }: Posted<Login>,
) -> Result<Response, Problem> {
    if user.is_empty() || user.len() > USER_BYTES_MAX {
        return Err(Problem::Refused(format!("a user name has 1 to {USER_BYTES_MAX} bytes")));
    }
    session.renew();
    session.insert("user", &user)?;
    if form {
        return Ok(Redirect::to("/").into_response());
    }
    // Only because the answer says how it went.
    let commit = session.commit().await?;
    let id = session.id().ok_or(Problem::NotLoggedIn)?;
    let answer = json!({
        "user": user,
        "session": id.to_string(),
        "served_by": app.mesh.name(),
        "owners": app.mesh.owners(id),
        "copies": commit.copies,
    });
    Ok(Json(answer).into_response())
}

/// Counts a visit, and tells what the session holds.
pub(super) async fn visit(State(app): State<App>, session: Session) -> Result<Response, Problem> {
    let id = session.id().ok_or(Problem::NotLoggedIn)?;
    let held_here = app.mesh.holds(id);
    let count = |visits: Option<u64>| Some(visits.unwrap_or(0).saturating_add(1));
    let visits = session.update_now("visits", count).await?;
    let answer = json!({
        "user": session.get::<String>("user")?,
        "visits": visits,
        "session": id.to_string(),
        "created": session.created_ms().and_then(page::moment),
        "served_by": app.mesh.name(),
        "held_here": held_here,
        "owners": app.mesh.owners(id),
    });
    Ok(Json(answer).into_response())
}

/// So many of the latest notes are kept, each in an attribute of its own.
pub(crate) const NOTES: usize = 32;

/// What a visitor of the demo notes.
#[derive(Debug, Deserialize)]
pub(super) struct Note {
    number: u64,
}

/// Notes a number, and tells all that are kept. Since each has an attribute of its own, two requests never overwrite each other's,
/// wherever they are served: the visitors of the demo count by this whether anything was lost.
pub(super) async fn note(session: Session, Json(Note { number }): Json<Note>) -> Result<Response, Problem> {
    session.id().ok_or(Problem::NotLoggedIn)?;
    let key = |place: u64| format!("note-{place}");
    session.insert(&key(number % NOTES as u64), &number)?;
    session.commit().await?;
    let notes = (0..NOTES as u64).map(|place| session.get::<u64>(&key(place))).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({ "notes": notes })).into_response())
}

pub(super) async fn logout(State(app): State<App>, session: Session, headers: HeaderMap) -> Result<Response, Problem> {
    session.invalidate().await?;
    if is_form(&headers) {
        return Ok(Redirect::to("/").into_response());
    }
    Ok(Json(json!({ "user": null, "served_by": app.mesh.name() })).into_response())
}
