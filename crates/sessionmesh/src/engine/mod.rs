//! The machinery behind [`crate::Mesh`]: the map, locks, sockets and tasks, which carry bytes and time to the values and rules
//! of `sessionmesh-core`, and do what they say.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod courier;
pub(crate) mod differences;
pub(crate) mod end;
mod ended;
pub(crate) mod evidence;
pub(crate) mod expire;
pub(crate) mod expiry_holds;
pub(crate) mod frame;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod lateness;
pub(crate) mod link;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod progress;
pub(crate) mod pulse;
pub(crate) mod read;
pub(crate) mod ready;
pub(crate) mod request;
pub(crate) mod roll_call;
pub(crate) mod search;
pub(crate) mod seldom;
pub(crate) mod serve;
pub(crate) mod spare;
pub(crate) mod store;
pub(crate) mod topology;
pub(crate) mod trust;
pub(crate) mod unknown;
pub(crate) mod users;
pub(crate) mod views;
pub(crate) mod walk;
