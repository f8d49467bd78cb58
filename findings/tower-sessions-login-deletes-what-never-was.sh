#!/usr/bin/env bash
# tower-sessions: the first login of a visitor deletes a session that never existed.
#
# The naive guess: `Session::cycle_id`, which a login calls against session fixation, gives the session another id. A
# visitor who has no session yet has nothing to renew, so the store is asked for nothing but the `create` at the end.
#
# What happens: a session that was only just begun draws an id when it is first touched, and `cycle_id` deletes that id
# from the store, although no record was ever created under it. So a store that answers a delete only after it has made
# sure of something, or fails when it cannot, makes first logins slow or impossible. (axum-login calls `cycle_id` in every
# login.)
#
# Source: tower-sessions-core 0.15.0, src/session.rs, `cycle_id`; seen with a store that writes down what it is asked.
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
async-trait = "=0.1.89"
tokio = { version = "=1.48.0", features = ["macros", "rt"] }
tower-sessions-core = "=0.15.0"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use std::sync::{Arc, Mutex};

use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::{session_store, Session, SessionStore};

#[derive(Clone, Debug, Default)]
struct Noting(Arc<Mutex<Vec<&'static str>>>);

#[async_trait::async_trait]
impl SessionStore for Noting {
    async fn create(&self, _: &mut Record) -> session_store::Result<()> {
        self.0.lock().unwrap().push("create");
        Ok(())
    }
    async fn save(&self, _: &Record) -> session_store::Result<()> {
        self.0.lock().unwrap().push("save");
        Ok(())
    }
    async fn load(&self, _: &Id) -> session_store::Result<Option<Record>> {
        self.0.lock().unwrap().push("load");
        Ok(None)
    }
    async fn delete(&self, _: &Id) -> session_store::Result<()> {
        self.0.lock().unwrap().push("delete");
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = Noting::default();
    // A visitor without a cookie logs in.
    let session = Session::new(None, Arc::new(store.clone()), None);
    session.cycle_id().await.unwrap();
    session.insert("user", "ada").await.unwrap();
    session.save().await.unwrap();
    println!("{}", store.0.lock().unwrap().join(" "));
}
RUST
seen=$(cd "$folder" && cargo run --quiet 2>/dev/null)
echo "tower-sessions-core 0.15.0"
echo "guessed: create"
echo "seen:    $seen"
[ "$seen" = "delete create" ] || { echo "CHANGED: the store is asked for something else now"; exit 1; }
