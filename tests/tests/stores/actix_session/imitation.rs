//! A store that behaves as actix-session's own store for Redis does, as a control: the races must be lost with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key};
use actix_web::cookie::time::Duration;

type State = HashMap<String, String>;

/// Keeps sessions in memory, each whole, for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct LikeRedis(Arc<Mutex<HashMap<String, State>>>);

impl LikeRedis {
    fn with<R>(&self, act: impl FnOnce(&mut HashMap<String, State>) -> R) -> R {
        act(&mut self.0.lock().expect("nobody panics with it"))
    }
}

impl SessionStore for LikeRedis {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        Ok(self.with(|sessions| sessions.get(key.as_ref()).cloned()))
    }

    async fn save(&self, state: State, _: &Duration) -> Result<SessionKey, SaveError> {
        let key = generate_session_key();
        self.with(|sessions| sessions.insert(key.as_ref().to_owned(), state));
        Ok(key)
    }

    async fn update(&self, key: SessionKey, state: State, ttl: &Duration) -> Result<SessionKey, UpdateError> {
        let is_there = self.with(|sessions| match sessions.get_mut(key.as_ref()) {
            Some(before) => {
                before.clone_from(&state);
                true
            }
            None => false,
        });
        if is_there {
            return Ok(key);
        }
        // As `SET .. XX` that found nothing: "the session has expired between load and update".
        self.save(state, ttl).await.map_err(|error| UpdateError::Other(error.into()))
    }

    async fn update_ttl(&self, _: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.with(|sessions| sessions.remove(key.as_ref()));
        Ok(())
    }
}
