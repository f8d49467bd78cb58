//! Setting up a node in code.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::replication::acks::Ack;
use sessionmesh_core::terms::Mode;
use sessionmesh_core::wire::version::Versions;

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::discovery::Discovery;
use crate::error::StartError;
use crate::mesh::Mesh;
use crate::network::{Network, TokioNetwork};
use crate::security::secret::Secret;
use crate::start;
use crate::user_index::UserIndex;

/// Builds a node. Every setting of [`Config`] has a method of the same name.
#[derive(Debug)]
pub struct MeshBuilder {
    pub(crate) config: Config,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: Option<u64>,
    pub(crate) user_index: Option<UserIndex>,
    pub(crate) versions: Versions,
}

impl Default for MeshBuilder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            network: Arc::new(TokioNetwork),
            clock: Arc::new(SystemClock),
            seed: None,
            user_index: None,
            versions: Versions::OURS,
        }
    }
}

macro_rules! settings {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(
            #[doc = concat!("Sets [`Config::", stringify!($name), "`].")]
            #[must_use]
            pub fn $name(mut self, $name: impl Into<$type>) -> Self {
                self.config.$name = $name.into();
                self
            }
        )*

        /// The settings that have a method, for a test that compares them with the configuration's keys.
        #[cfg(test)]
        pub(crate) const SETTINGS: &[&str] = &[$(stringify!($name)),*];
    };
}

impl MeshBuilder {
    settings! {
        name: String,
        cluster: String,
        bind: SocketAddr,
        advertise: Option<SocketAddr>,
        zone: String,
        mode: Mode,
        ack: Ack,
        strict: bool,
        commit_deadline: Duration,
        read_deadline: Duration,
        max_inactive: Duration,
        multicast: Option<bool>,
        multicast_group: Ipv4Addr,
        multicast_port: u16,
        multicast_interface: Ipv4Addr,
        multicast_ttl: u32,
        seeds: Vec<String>,
        dns: Vec<String>,
        gossip_interval: Duration,
        gossip_phi: f64,
        discovery_window: Duration,
        min_members: u16,
        audit_interval: Duration,
        max_sessions: u64,
        user_attribute: Option<String>,
        user_pointer: String,
        max_sessions_per_user: u32,
        max_attributes: u32,
        max_key_bytes: u32,
        max_value_bytes: u32,
        max_session_bytes: u32,
        tombstone_retention: Duration,
        max_tombstones: u64,
        secret: Vec<Secret>,
        secret_file: Option<PathBuf>,
        tls_cert: Option<PathBuf>,
        tls_key: Option<PathBuf>,
        tls_ca: Option<PathBuf>,
        tls_names: Vec<String>,
        accept_plaintext: bool,
        insecure: bool,
    }

    /// Replaces all settings with `config`, for example from [`Config::load`]. Settings made before are lost.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a way to find the other nodes. Without any, the node uses multicast.
    #[must_use]
    pub fn discovery(mut self, discovery: Discovery) -> Self {
        discovery.apply(&mut self.config);
        self
    }

    /// Indexes sessions by user with this rule, for [`Mesh::sessions_of`] and the methods that build on it. Overrides
    /// [`Config::user_attribute`]. Use the same rule on all nodes of a cluster.
    #[must_use]
    pub fn user_index(mut self, index: UserIndex) -> Self {
        self.user_index = Some(index);
        self
    }

    /// Uses another network, for simulations.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Uses other clocks, for simulations.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws all randomness from this seed, for simulations. Anybody who knows the seed can then guess session ids.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Has the node speak other versions of the protocol than this build does, for tests of an upgrade.
    #[doc(hidden)]
    #[must_use]
    pub const fn protocol_versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Starts the node: it listens, finds other nodes, and joins the cluster as soon as it knows them. It serves
    /// requests at once; [`Mesh::ready`] waits until it has received everything in its slots.
    ///
    /// # Errors
    ///
    /// [`StartError`]. No part of the node runs then.
    pub async fn start(self) -> Result<Mesh, StartError> {
        start::start(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_has_a_method_for_every_key_of_the_configuration() {
        // These numbers belong to the mode and to the acknowledgement.
        let is_setting = |key: &&str| !["backups", "ack_copies"].contains(key);
        let keys: Vec<&str> = crate::config::KEYS.iter().map(|(key, _)| *key).filter(is_setting).collect();
        assert_eq!(MeshBuilder::SETTINGS, keys);
    }
}
