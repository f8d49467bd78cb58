//! The store for actix-session, through the real session middleware.

pub(crate) mod app;
mod behaviours;
mod blind;
mod imitation;
mod users;
