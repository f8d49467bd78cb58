//! The machinery behind [`crate::Mesh`]: drivers that carry bytes and time to the pure values of `sessionmesh-core`.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod differences;
pub(crate) mod expire;
pub(crate) mod frame;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod lives;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod progress;
pub(crate) mod pulse;
pub(crate) mod read;
pub(crate) mod ready;
pub(crate) mod roll_call;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod topology;
pub(crate) mod trust;
pub(crate) mod users;
pub(crate) mod vanished;
pub(crate) mod views;
pub(crate) mod walk;
