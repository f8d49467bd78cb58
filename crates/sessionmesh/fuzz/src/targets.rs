//! The targets, one for each decoder.

pub mod beacon;
pub mod config_env;
pub mod config_file;
pub mod cookies;
pub mod datagram;
pub mod datagrams;
pub mod fragments;
pub mod frames;
pub mod gossip_guard;
pub mod link_accept;
pub mod link_dial;
pub mod message;
pub mod record;
pub mod secret;
pub mod secret_file;
pub mod session_id;
pub mod terms;

use crate::Target;

/// All of them.
pub const ALL: &[Target] = &[
    beacon::TARGET,
    config_env::TARGET,
    config_file::TARGET,
    cookies::TARGET,
    datagram::TARGET,
    datagrams::TARGET,
    fragments::TARGET,
    frames::TARGET,
    gossip_guard::TARGET,
    link_accept::TARGET,
    link_dial::TARGET,
    message::TARGET,
    record::TARGET,
    secret::TARGET,
    secret_file::TARGET,
    session_id::TARGET,
    terms::TARGET,
];
