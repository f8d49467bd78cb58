//! What the shop sells, and what a visitor wants of it.

use std::collections::BTreeMap;

use sessionmesh_axum::{Session, SessionError};

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

/// Each article is an attribute of its own, so that of two tabs that fill the cart none empties the other's.
pub(super) const CART: &str = "cart.";

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
