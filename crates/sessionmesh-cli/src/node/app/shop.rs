//! The shop: a few teas, and a cart that outlives its server.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use sessionmesh_axum::{Session, SessionError};

use super::problem::Problem;
use super::{App, page, takes_html};

/// Something to buy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Article {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) cents: u32,
    /// Its colour in the cup.
    pub(super) color: &'static str,
}

const fn article(
    key: &'static str,
    name: &'static str,
    about: &'static str,
    cents: u32,
    color: &'static str,
) -> Article {
    Article { key, name, about, cents, color }
}

pub(super) const ARTICLES: [Article; 6] = [
    article("assam", "Assam", "malty, for the morning", 640, "#9a3b1b"),
    article("sencha", "Sencha", "grassy, a little sweet", 890, "#9cae3f"),
    article("darjeeling", "Darjeeling", "first flush, floral", 1_180, "#d79a34"),
    article("oolong", "Oolong", "roasted, with honey", 1_050, "#b8722c"),
    article("lapsang", "Lapsang Souchong", "smoked over pine", 920, "#5a3423"),
    article("rooibos", "Rooibos", "no caffeine, vanilla", 490, "#c2491d"),
];

/// So many of one article fit into a cart.
const COUNT_MAX: u32 = 99;

/// Each article is an attribute of its own, so that of two tabs that fill the cart none empties the other's.
const CART: &str = "cart.";

/// The cart: how many of what.
pub(super) fn cart(session: &Session) -> Result<BTreeMap<&'static str, u32>, SessionError> {
    let mut cart = BTreeMap::new();
    for article in &ARTICLES {
        if let Some(count) = session.get(&format!("{CART}{}", article.key))? {
            cart.insert(article.key, count);
        }
    }
    Ok(cart)
}

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
