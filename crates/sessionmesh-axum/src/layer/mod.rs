//! The layer and the extractor.
//!
//! A [`visit::Visit`] is one request's view of its session: the [`service`] puts it into the request and, when the
//! response is there, has it [commit] what was changed and [sign off](visit::Visit::write_headers) the response's head; the
//! [`Session`] that handlers see is a handle to it.

mod commit;
mod cookie;
mod cookie_age;
mod error;
mod find;
#[cfg(any(fuzzing, sessionmesh_simulation))]
pub mod fuzzing;
mod leftovers;
mod moves;
mod options;
mod request_cookies;
mod route_cookie;
mod service;
mod session;
mod session_layer;
mod site;
#[cfg(test)]
mod tests;
mod visit;
mod write_headers;

pub use ::cookie::{Key, SameSite};

pub use commit::Commit;
pub use cookie::{CookieError, Priority, SessionCookie};
pub use error::{ErrorKind, RequestHead, SessionError};
pub use options::{SessionOptions, SessionOptionsService};
pub use route_cookie::RouteCookie;
pub use service::{SessionFuture, SessionService};
pub use session::Session;
pub use session_layer::SessionLayer;
