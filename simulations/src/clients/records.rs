//! What a request does that uses a record store, as the session crates of web frameworks do: it loads the whole session, changes
//! it, and saves the whole.

use std::collections::{BTreeMap, HashMap};

use sessionmesh::SessionId;
use sessionmesh::record_store::{BASE_KEY, RecordError, RecordStore};
use tokio::time::{Duration, Instant, sleep};

use super::serve::millis;
use crate::oracle::{Did, Reply, Request, Seen, What, name};
use crate::scenario::IDLE_NEVER_MS;

/// A record as this crate holds it: JSON as text.
type Values = HashMap<String, String>;

/// One request, on the node.
pub(super) async fn serve(store: RecordStore, request: Request, pad: u32) -> Reply {
    let Some(id) = request.id else {
        let started = Instant::now();
        let mut values = Values::new();
        put(&mut values, &request, pad);
        let created = store.create(&mut values, ttl()).await;
        return Reply { took_ms: millis(started), ..Reply::of(None, did(created)) };
    };
    let (seen, took_ms, values) = look(&store, id).await;
    let seen = Some((seen, took_ms));
    let Some(mut values) = values else {
        return Reply::of(seen, Did::Nothing);
    };
    if let What::Write(_, pause_ms) = request.what {
        sleep(Duration::from_millis(pause_ms)).await;
    }
    let started = Instant::now();
    let changed = match request.what {
        What::Write(..) | What::Share(_) | What::Remove(_) => {
            put(&mut values, &request, pad);
            did(store.save(id, &values, ttl()).await.map(|()| id))
        }
        What::Logout => did(store.delete(id).await.map(|()| id)),
        What::Renew => match store.delete(id).await {
            Ok(()) => did(store.create(&mut values, ttl()).await),
            Err(error) => did(Err(error)),
        },
        _ => Did::Nothing,
    };
    Reply { took_ms: millis(started), ..Reply::of(seen, changed) }
}

const fn ttl() -> Duration {
    Duration::from_millis(IDLE_NEVER_MS)
}

async fn look(store: &RecordStore, id: SessionId) -> (Seen, u64, Option<Values>) {
    let started = Instant::now();
    let loaded = store.load::<String>(id).await;
    let took_ms = millis(started);
    match loaded {
        Err(error) => (Seen::CannotTell(error.to_string()), took_ms, None),
        Ok(None) => (Seen::Nothing, took_ms, None),
        Ok(Some(loaded)) => {
            let attributes = loaded.values.iter().filter(|(key, _)| *key != BASE_KEY);
            let seen: BTreeMap<_, _> = attributes.map(|(key, json)| (key.clone(), number(json))).collect();
            (Seen::Session(seen), took_ms, Some(loaded.values))
        }
    }
}

/// The JSON of a [`crate::oracle::Padded`].
fn put(values: &mut Values, request: &Request, pad: u32) {
    match request.what.write(request.tab) {
        Some((key, _, true)) => drop(values.remove(&name(key))),
        Some((key, value, false)) => {
            let padding = if pad > 0 { format!("\"{}\"", "x".repeat(pad as usize)) } else { "null".to_owned() };
            values.insert(name(key), format!("[{value},{padding}]"));
        }
        None => {}
    }
}

fn number(json: &str) -> u64 {
    let digits = json.trim_start_matches('[').split(',').next();
    digits.and_then(|digits| digits.parse().ok()).expect("only such values are written")
}

fn did(result: Result<SessionId, RecordError>) -> Did {
    match result {
        Ok(id) => Did::Saved(id),
        Err(error) => Did::Refused(error.to_string()),
    }
}
