//! Cookies that live for different times: "remember me".

use std::time::Duration;

use sessionmesh::ValueBytes;

use super::site::Site;
use super::visit::State;

/// The attribute that says how long the cookie of this session lives, in seconds, as JSON; 0: until the browser ends. It
/// goes along when the session is renewed or moves, and every node knows of it.
pub(super) const KEY: &str = "sessionmesh.cookie_max_age";

/// What is stored for this age.
pub(super) fn value(age: Option<Duration>) -> ValueBytes {
    // Shorter than a second is not "until the browser ends".
    let seconds = age.map_or(0, |age| age.as_secs().max(1));
    ValueBytes::from(seconds.to_string().into_bytes())
}

/// How long the cookie of this session outlives its last use, if it outlives the browser.
pub(super) fn of(state: &State, site: &Site) -> Option<Duration> {
    let stored = state.get(KEY).and_then(|value| str::from_utf8(&value).ok()?.parse().ok());
    match stored {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => site.cookie.max_age,
    }
}
