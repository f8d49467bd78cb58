//! The stores for other session crates, each through the real middleware of its crate.

mod actix_session;
mod adapter;
mod logins;
mod races;
mod refused;
mod tower_sessions;
