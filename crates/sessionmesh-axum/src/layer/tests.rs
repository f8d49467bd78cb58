//! The layer on one node, from request to response.

mod basics;
mod commits;
mod cookies;
mod failures;
mod route;
mod site;
