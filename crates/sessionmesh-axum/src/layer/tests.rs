//! The layer on one node, from request to response.

mod basics;
mod commits;
mod cookies;
mod failures;
mod nested;
mod renewals;
mod route;
pub(super) mod site;
mod streams;
