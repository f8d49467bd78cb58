//! For adapters: sessions as whole records, as the session crates of web frameworks load and save them.
//!
//! Such a crate loads a session as one map, changes the map, and saves the whole map. A plain save would overwrite what
//! other requests of the same visitor wrote meanwhile. A [`RecordStore`] does a three-way merge instead. A loaded
//! record carries fingerprints of its attributes, under [`BASE_KEY`]. A save writes only the attributes that differ
//! from their fingerprints, and removes only those that were loaded and are gone. All other attributes stay as they are
//! in the mesh. A record without that key, because the application cleared or made it, replaces everything.
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//!
//! use serde_json::{Value, json};
//! use sessionmesh::record_store::RecordStore;
//! # use sessionmesh::{Discovery, Mesh};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mesh = Mesh::builder().name("app-1").discovery(Discovery::seeds(["127.0.0.1:1"]));
//! # let mesh = mesh.discovery_window(Duration::from_millis(10)).start().await?;
//! # mesh.ready().await;
//! let store = RecordStore::new(mesh);
//! let ttl = Duration::from_secs(1800);
//! let mut cart = HashMap::from([("cart".to_owned(), json!(["tea"]))]);
//! let id = store.create(&mut cart, ttl).await?;
//!
//! // Two requests load the same, and each writes something else.
//! let mut one = store.load::<Value>(id).await?.expect("it lives").values;
//! let mut other = store.load::<Value>(id).await?.expect("it lives").values;
//! one.insert("theme".to_owned(), json!("dark"));
//! other.remove("cart");
//! store.save(id, &one, ttl).await?;
//! store.save(id, &other, ttl).await?;
//!
//! let both = store.load::<Value>(id).await?.expect("it lives").values;
//! assert_eq!(both.get("theme"), Some(&json!("dark")));
//! assert_eq!(both.get("cart"), None);
//! # Ok(())
//! # }
//! ```
//!
//! # What ends a session, and what does not come back
//!
//! - A load is not an access; a save is, even if nothing changed. So a session ends one time-to-live after its last
//!   save.
//! - Saving a session that has ended, or that no node knows, changes nothing and is not an error: the answer of the
//!   slow request is still good, only its changes come too late.
//! - A change that was made with fewer copies than asked for is a warning in the log, not an error.
//!
//! # Renewal as "delete, then create"
//!
//! The session crates have no renewal. They delete the old id and create a new one from the same record.
//! [`RecordStore::delete`] therefore remembers for 15 minutes what it ended, and [`RecordStore::create`] merges the
//! record with that: the new session also gets what other requests wrote before the deletion, even if this request
//! never saw it. The store keeps at most 32 MiB of the contents of ended sessions; beyond that, the new session gets
//! the record as it was loaded. It keeps at most 16 MiB of notes that sessions were ended (some 100,000); beyond that,
//! an old deletion may have been a logout, and counts as one.
//!
//! **A refused renewal loses nothing.** A renewal takes the place of the old session, so `max_sessions` does not refuse
//! it. If another limit refuses it, or a value that could not be read again, the crate answers with an error. The store
//! then keeps what the session held before, and finds it by the old id, which the visitor still has.
//!
//! What remains different from [`crate::Session::renew_id`]:
//!
//! - Between the two steps, no node holds the session. A crash then, or a node that leaves, loses it.
//! - Writes of other requests to the old id after the deletion are dropped.
//! - Two renewals at the same time make two sessions; each visitor's cookie names one of them.
//!
//! **A logout wins over a renewal.** If another request ended the session, on any node, the renewed session keeps
//! nothing that this request had loaded. It keeps only attributes that this very request added, such as a login with
//! fresh credentials. If the request added none, the id that `create` returns names no session: the visitor is not
//! logged in. A deletion whose creation has not followed yet may be a logout, so it counts as one. A session that
//! merely expired was not logged out: its record is taken over whole.

pub(crate) mod base;
mod endings;
mod error;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) mod fuzzing;
mod merge;
mod recent;
mod store;
#[cfg(test)]
mod tests;
mod value;

pub use base::BASE_KEY;
pub use error::RecordError;
pub use store::{LoadedRecord, RecordStore};
pub use value::RecordValue;
