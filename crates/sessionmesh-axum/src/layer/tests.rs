//! The layer on one node, from request to response.

mod basics;
mod commits;
mod cookies;
mod failures;
mod nested;
mod renewals;
mod route;
mod site;
mod streams;
