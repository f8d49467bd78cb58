//! The store for actix-session, through the real session middleware.

mod app;
mod behaviours;
mod imitation;
mod races;
mod refused;
mod users;
mod visitor;
