//! The shop: a few teas, and a cart that outlives its server.

use axum::Form;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use sessionmesh_axum::Session;

use super::cart::{ARTICLES, CART};
use super::problem::Problem;
use super::{App, page, takes_html};

/// So many of one article fit into a cart.
const COUNT_MAX: u32 = 99;

/// The page. Who has a session is counted; to look at a shop makes none.
pub(super) async fn home(State(app): State<App>, session: Session, headers: HeaderMap) -> Result<Response, Problem> {
    if !takes_html(&headers) {
        return Ok(page::text(&app.mesh, &session));
    }
    if session.exists() {
        session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0).saturating_add(1)))?;
    }
    Ok(page::shop(&app.mesh, &session)?)
}

#[derive(Debug, Deserialize)]
pub(super) struct Pick {
    article: String,
}

pub(super) async fn add(session: Session, Form(pick): Form<Pick>) -> Result<Redirect, Problem> {
    change(&session, &pick, |count| Some(count.saturating_add(1).min(COUNT_MAX)))
}

pub(super) async fn remove(session: Session, Form(pick): Form<Pick>) -> Result<Redirect, Problem> {
    change(&session, &pick, |count| count.checked_sub(1).filter(|left| *left > 0))
}

/// The page that follows the redirect shows the change, whichever node serves it: the commit is made before this answer
/// leaves.
fn change(session: &Session, pick: &Pick, change: impl FnOnce(u32) -> Option<u32>) -> Result<Redirect, Problem> {
    if !ARTICLES.iter().any(|article| article.key == pick.article) {
        return Err(Problem::Refused("there is no such article".to_owned()));
    }
    let key = format!("{CART}{}", pick.article);
    session.update(&key, |count: Option<u32>| change(count.unwrap_or(0)))?;
    Ok(Redirect::to("/"))
}
