#!/usr/bin/env bash
# actix-session: a store that is away for a moment fails pages that have no session at all.
#
# The naive guess: a handler that does not take a `Session` has nothing to do with the store, and one that does hears of a
# failing store as an error that it can handle.
#
# What happens: the middleware loads the session of every request that brings a valid cookie before any handler is looked
# for, and answers 500 itself if the store cannot say. The pages of all visitors who were there before fail, the static
# ones and the health check too; visitors without a cookie notice nothing, so a probe of the site looks well.
#
# Source: actix-session 0.11.0, src/middleware.rs, `load_session_state` in `call`; seen with a store that can be switched
# off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
actix-session = { version = "=0.11.0", default-features = false }
actix-web = { version = "=4.11.0", default-features = false, features = ["cookies", "macros", "secure-cookies"] }
anyhow = "=1.0.100"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::time::Duration;
use actix_web::cookie::Key;
use actix_web::{test, web, App};

static AWAY: AtomicBool = AtomicBool::new(false);

struct Store;

impl SessionStore for Store {
    async fn load(&self, _: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        match AWAY.load(Ordering::Relaxed) {
            true => Err(LoadError::Other(anyhow::anyhow!("away"))),
            false => Ok(Some(HashMap::new())),
        }
    }
    async fn save(&self, _: HashMap<String, String>, _: &Duration) -> Result<SessionKey, SaveError> {
        Ok(SessionKey::try_from("k".repeat(64)).unwrap())
    }
    async fn update(&self, key: SessionKey, _: HashMap<String, String>, _: &Duration) -> Result<SessionKey, UpdateError> {
        Ok(key)
    }
    async fn update_ttl(&self, _: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }
    async fn delete(&self, _: &SessionKey) -> Result<(), anyhow::Error> {
        Ok(())
    }
}

async fn login(session: Session) -> &'static str {
    session.insert("user", "ada").unwrap();
    "hello"
}

async fn imprint() -> &'static str {
    "no session here"
}

#[actix_web::main]
async fn main() {
    let app = App::new()
        .wrap(SessionMiddleware::new(Store, Key::from(&[7; 64])))
        .route("/login", web::get().to(login))
        .route("/imprint", web::get().to(imprint));
    let app = test::init_service(app).await;
    let answer = test::call_service(&app, test::TestRequest::get().uri("/login").to_request()).await;
    let cookie = answer.response().cookies().next().expect("a cookie").into_owned();
    AWAY.store(true, Ordering::Relaxed);
    let newcomer = test::TestRequest::get().uri("/imprint").to_request();
    let newcomer = test::call_service(&app, newcomer).await.status().as_u16();
    let known = test::TestRequest::get().uri("/imprint").cookie(cookie).to_request();
    let known = match test::try_call_service(&app, known).await {
        Ok(answer) => answer.status().as_u16(),
        Err(error) => error.as_response_error().status_code().as_u16(),
    };
    println!("without cookie {newcomer}, with cookie {known}");
}
RUST
seen=$(cd "$folder" && cargo run --quiet 2>/dev/null)
echo "actix-session 0.11.0, actix-web 4.11.0; a page that takes no session, while the store is away"
echo "guessed: without cookie 200, with cookie 200"
echo "seen:    $seen"
[ "$seen" = "without cookie 200, with cookie 500" ] || { echo "CHANGED"; exit 1; }
