//! The settings of one node.
//!
//! A setting has the same name everywhere: as a field of [`Config`], as a top-level key in a TOML file and, in upper
//! case after `SESSIONMESH_`, as an environment variable. Only the numbers in [`Config::mode`] and [`Config::ack`] have
//! keys and variables of their own, `backups` and `ack_copies`. A list is an array in TOML and comma-separated in a
//! variable.
//!
//! ```
//! use sessionmesh::Mode;
//! use sessionmesh::config::Config;
//! use std::time::Duration;
//!
//! let config = Config::from_toml("name = 'web-1'\nmax_inactive = '20min'")?
//!     .from_env_over([("SESSIONMESH_BACKUPS".to_owned(), "2".to_owned())])?;
//! config.validate()?;
//! assert_eq!(config.max_inactive, Duration::from_secs(1200));
//! assert_eq!(config.mode, Mode::PrimaryBackup { backups: 2 });
//! # Ok::<(), sessionmesh::config::ConfigError>(())
//! ```
//!
//! Reading checks each given key, so its error can say where the value came from. [`Config::validate`] checks all
//! settings together. Call it once nothing will change any more: a program may read a file first and set the name
//! afterwards.

mod error;
mod keys;
mod load;
mod origins;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, Origin, SyntaxError};
pub use keys::{Allowed, ENV_PREFIX, KEYS};

use serde::{Deserialize, Serialize};
use sessionmesh_core::moment::millis;
use sessionmesh_core::replication::acks::Ack;
use sessionmesh_core::terms::{Mode, Terms};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use self::origins::Origins;
use crate::security::certificates::CertificateSettings;
use crate::security::secret::Secret;

/// All settings of one node; the [module](self) says how to read them. Only [`name`](Self::name) has no default.
///
/// Durations have a unit, as in `"500ms"`, `"30min"` or `"24h"`. Nodes of one cluster should have the same settings,
/// except `name`, `bind`, `advertise` and `zone`. `cluster` must be the same, and each node must be able to find
/// another one (`seeds`, `dns`, multicast). A rolling restart can change all other settings. While nodes differ in
/// `mode`, `backups`, `tombstone_retention` or a limit on sessions, the largest value is in force on all of them; a
/// warning and [`crate::Mesh::differences`] name the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// Name of this node, unique in the cluster: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. No default.
    ///
    /// Keep it across restarts (host name, StatefulSet pod name): placement depends on it, so a new name at every start
    /// moves sessions at every start. A node refuses to start if a running node has the same name.
    pub name: String,
    /// Name of the cluster, same form as `name`. Default `sessionmesh`. A node ignores other clusters, so give each
    /// application a cluster name of its own if they share a network.
    pub cluster: String,
    /// Address to listen at; one port number serves TCP (replication) and UDP (gossip). Default `127.0.0.1:0`:
    /// loopback, any free port, for trying things out on one machine. Choose a fixed port if other nodes name this node
    /// as a seed.
    pub bind: SocketAddr,
    /// Address at which other nodes reach this one, if that is not `bind`: behind NAT, or if `bind` is `0.0.0.0` or
    /// `[::]`. Port 0 stands for the port that was bound. It must be of the same family (IPv4 or IPv6) as `bind`; only
    /// a `bind` of `[::]` accepts both. The environment variable also accepts `[10.1.2.3]:7700`, for templates that do
    /// not know the family. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// Failure domain (rack, availability zone) of this node: 0 to 64 characters, the same ones as in `name`. Default
    /// empty. Backups are placed in other zones than their primary, if there are any. Set it on all nodes or on none.
    pub zone: String,
    /// Which nodes hold a copy of a session. Default: a primary and one backup. While nodes differ, the larger number
    /// of copies is in force.
    ///
    /// Two keys in files and variables: `mode` is `all-to-all` or `primary-backup` (the default). `backups` is the
    /// number of copies besides the primary's: 1 to 8, default 1. That many nodes may crash at the same moment; each
    /// backup costs one message per write and the memory of one copy. `all-to-all` ignores `backups`.
    #[serde(flatten, with = "keys::mode")]
    pub mode: Mode,
    /// When a commit returns. Default: when every owner holds the change.
    ///
    /// Two keys in files and variables: `ack` is `local`, `copies` or `owners` (the default). `ack_copies` is the
    /// number of other nodes that must hold a change: 1 to 255, default 1, at most `backups` in `primary-backup`. It is
    /// ignored unless `ack = "copies"`.
    #[serde(flatten, with = "keys::ack")]
    pub ack: Ack,
    /// Whether a commit fails if there is no other node to hold a copy. Default false: a node that is alone works, and
    /// reports that it has no copies. Set it to true to prefer an error page to a session that one crash can lose.
    pub strict: bool,
    /// The longest time that a commit waits, 50 ms to 60 s, default 500 ms. A peer that misses the deadline is
    /// suspected, and commits no longer wait for it. Too short: long garbage collections or network pauses look like
    /// failures. Too long: a hung peer delays responses by this time once. Read leases last 3/5 of this time, and
    /// suspicion follows after 7/10. While nodes differ, the leases between two nodes follow from the shorter deadline.
    #[serde(with = "keys::duration")]
    pub commit_deadline: Duration,
    /// The longest time that a read asks other nodes before it fails with "cannot tell", 50 ms to 60 s, default 500 ms.
    /// Reads on an owner need no network and do not come near it.
    #[serde(with = "keys::duration")]
    pub read_deadline: Duration,
    /// Idle limit of a new session unless the program sets another one, 100 ms to 365 days, default 30 min. A session
    /// that is not accessed for this time ends. Accesses are replicated once per tenth of the limit, so very short
    /// limits cost traffic.
    #[serde(with = "keys::duration")]
    pub max_inactive: Duration,
    /// Whether to find nodes by multicast. Default none: multicast is on if neither `seeds` nor `dns` is given. Clouds
    /// seldom carry multicast; use `dns` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast: Option<bool>,
    /// Multicast group of the beacons, an address in 224.0.0.0/4, default `228.0.0.4`.
    pub multicast_group: Ipv4Addr,
    /// UDP port of the beacons, 1 to 65535, default 45564.
    pub multicast_port: u16,
    /// Address of the interface for beacons. Default `0.0.0.0`: the interface of `bind`; if `bind` names none, that of
    /// `advertise`; if that is not an address of this host, the system chooses. The interface may come and go while the
    /// node runs.
    pub multicast_interface: Ipv4Addr,
    /// How many networks a beacon may reach, 0 to 255, default 1: the local network. 0 stays on this host; more than 1
    /// needs routers that forward multicast.
    pub multicast_ttl: u32,
    /// Nodes to contact, as `host:port`, default none. Two or three that are usually up are enough: they name the
    /// others.
    pub seeds: Vec<String>,
    /// Names to resolve again and again, as `host:port`, default none. The node contacts every address of a name, as
    /// with a Kubernetes headless service; all nodes then use this one port.
    pub dns: Vec<String>,
    /// Time between two rounds of gossip, 20 ms to 10 s, default 200 ms. With the defaults, a silent host is noticed
    /// after about 1 s. A longer interval lengthens that time and reduces traffic, both in proportion.
    #[serde(with = "keys::duration")]
    pub gossip_interval: Duration,
    /// How sure the failure detector must be (phi, no unit), 1 to 32, default 8. A lower value detects a silent host
    /// sooner, but is more often wrong; raise it where hosts are overcommitted.
    pub gossip_phi: f64,
    /// How long a starting node looks for others before it believes that it is alone, 0 to 60 s, default 1 s. The time
    /// counts from when each name of `seeds` and `dns` was looked up once. While a name cannot be looked up, or a named
    /// address does not answer at all, the node goes on looking, for 10 s in all; a port that refuses connections is an
    /// answer. The first node becomes ready later by this time. If it is too short, known sessions are not found for a
    /// moment after the start.
    #[serde(with = "keys::duration")]
    pub discovery_window: Duration,
    /// The least number of members, this node included, with which this node becomes ready, 1 to 1,024, default 1: a
    /// node that is alone is ready. Set it to more than half of the usual number to keep a node that cannot reach the
    /// others from taking visitors: until it is ready, it answers "cannot tell" where others would know. The limit
    /// counts at the start, and when a node must join again. A ready node stays ready when others go; otherwise a crash
    /// would take out the survivors.
    pub min_members: u16,
    /// Time between two anti-entropy comparisons of digests with each peer, 1 s to 1 day, default 60 s. They repair
    /// what every other mechanism missed. A comparison without differences costs at most about 40 KiB.
    #[serde(with = "keys::duration")]
    pub audit_interval: Duration,
    /// The number of sessions held, copies included, at which a node creates no new ones; 1 to 1e12, default 1,000,000.
    /// It stops floods of visitors. It does not limit memory: a session may have any size up to `max_session_bytes`,
    /// and the node always accepts copies from other nodes. For memory, plan with `max_sessions` sessions of the usual
    /// size on each node, and twice that for the time after a crash.
    pub max_sessions: u64,
    /// Attribute whose JSON contains the user of a session, 1 to 256 bytes, such as `axum-login.data` or
    /// `actix_identity.user_id`. Default none: the node keeps no index of users, and [`crate::Mesh::sessions_of`] is
    /// refused. It must be the same on all nodes. While nodes differ, as in a rolling restart that changes it, lists of
    /// a user's sessions and ending all of them fail with "cannot tell", and a limit is not enforced. An indexed
    /// session takes about 60 bytes more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_attribute: Option<String>,
    /// Where the user is in that JSON: a JSON pointer (RFC 6901) such as `/user_id`, of at most 256 bytes. Default
    /// empty: the whole value. A string or a number is a user; anything else is none. Only with `user_attribute`.
    pub user_pointer: String,
    /// Sessions of one user, 0 to 65,536, default 0: no limit. A login beyond the limit ends those of the user's other
    /// sessions that have been idle longest, before it returns; this costs one more query to all nodes. Needs
    /// `user_attribute` or a user index that the program sets. Best effort: the limit is not enforced while nodes
    /// cannot tell, and simultaneous logins may leave one session too many until the next login.
    pub max_sessions_per_user: u32,
    /// Attributes that a session may have at one time, 1 to 4,096, default 256. Over its life it may have any number:
    /// it remembers the last 8,192 removed keys, for about 60 bytes plus the key each.
    pub max_attributes: u32,
    /// Length of a key in bytes, 1 to 65,535, default 256.
    pub max_key_bytes: u32,
    /// Length of an encoded value in bytes, 1 to 16 MiB, default 1 MiB; at most `max_session_bytes`. A changed value is
    /// sent whole, so prefer several small ones.
    pub max_value_bytes: u32,
    /// Size of the keys and values of one session at one time, in bytes, 1 to 16 MiB (the limit of the protocol),
    /// default 4 MiB.
    pub max_session_bytes: u32,
    /// How long the id of an ended session is remembered, 1 min to 365 days, default 24 h; never less than its idle
    /// limit. A node that was cut off for longer discards its copies when it returns. A longer time costs memory for
    /// each ended session. While nodes differ, ids are remembered for the longest time, and a node that was cut off
    /// uses the shortest.
    #[serde(with = "keys::duration")]
    pub tombstone_retention: Duration,
    /// Ended sessions that all nodes together remember, copies not counted; 4,096 to 1e9, default 10,485,760. Each of
    /// the 4,096 slots has its part of them, so there are fewer if nearly all sessions are created on one of many
    /// nodes. A node takes 46 to 64 bytes for each one that it owns: at most 500 to 670 MB with all-to-all, half of
    /// that with one backup on four nodes. Beyond the limit the earliest ends are forgotten before
    /// `tombstone_retention`, with a warning, and counted in `Stats::tombstones_forgotten`. A node that was cut off for
    /// longer than the others remember may then bring such a session back. Ends of the last ten `commit_deadline`s are
    /// never forgotten. While nodes differ, the largest value is in force.
    pub max_tombstones: u64,
    /// The cluster secret, as `sessionmesh keygen` prints it: 32 to 1,024 random bytes in base64 or hexadecimal, the same on
    /// all nodes. Default none. With a secret all traffic between nodes is encrypted, and only who has it takes part; so
    /// addresses beyond loopback are allowed. A list of up to eight is for changing it: the node uses the first one, and
    /// understands all of them. It is shown nowhere, but the environment and the memory of the process hold it;
    /// `secret_file` keeps it out of the environment and can be changed while the node runs.
    #[serde(skip_serializing, deserialize_with = "keys::secrets_from")]
    pub secret: Vec<Secret>,
    /// A file with the cluster secret, instead of `secret`: one secret a line, the one in use first; empty lines and those
    /// that begin with `#` are skipped. Default none. Other users of the machine must not be able to read it. It is looked
    /// at every 2 s while the node runs, and what it then says counts; if it cannot be used, the secrets in use stay, and a
    /// warning says why. See also [`crate::Mesh::reload_secrets`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The certificate of this node, in PEM, with those between it and the authority behind it: for sites that have a PKI.
    /// Default none; always with `tls_key`, `tls_ca` and `tls_names`. Nodes then prove who they are by certificates instead of
    /// the secret. It must be for both ends of a connection (extended key usage serverAuth and clientAuth, or none). Like the
    /// two other files it is looked at every 2 s; what changed is tried first, and if it cannot be used, what is in use
    /// stays, and a warning says why. Certificates protect links, not datagrams: without a secret gossip goes over links,
    /// and there is no multicast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of `tls_cert`, in PEM, not encrypted. Other users of the machine must not be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// The certificates of the authorities that sign those of nodes, in PEM. Several while one takes the place of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Whose certificates are accepted: one of their subject alternative names must be here. Each entry is a DNS name
    /// (`web-1.shop.example`), one with `*.` in front for any first label, a URI (`spiffe://shop/web`), or `*` for any
    /// certificate of `tls_ca`, which only fits if those authorities sign for nothing but this cluster.
    pub tls_names: Vec<String>,
    /// Whether this node also talks to nodes that have neither a secret nor certificates yet. Default false. Only with one of
    /// these, and only while a running cluster gets them, one node after the other: while it is true, nothing is
    /// protected, and the node says so once a minute.
    pub accept_plaintext: bool,
    /// Whether addresses beyond loopback are allowed without a secret or certificates. Default false. With true, traffic is neither
    /// encrypted nor authenticated: anybody who reaches the port can read and write all sessions. Only for networks in
    /// which every machine is trusted. The node says so at its start, and [`crate::Stats::insecure`] does. Without effect
    /// if there is a secret or a certificate.
    pub insecure: bool,
    /// Where the settings come from that were read.
    #[serde(skip)]
    origins: Origins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            cluster: "sessionmesh".to_owned(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            zone: String::new(),
            mode: Mode::default(),
            ack: Ack::default(),
            strict: false,
            commit_deadline: Duration::from_millis(500),
            read_deadline: Duration::from_millis(500),
            max_inactive: Duration::from_secs(30 * 60),
            multicast: None,
            multicast_group: Ipv4Addr::new(228, 0, 0, 4),
            multicast_port: 45564,
            multicast_interface: Ipv4Addr::UNSPECIFIED,
            multicast_ttl: 1,
            seeds: Vec::new(),
            dns: Vec::new(),
            gossip_interval: Duration::from_millis(200),
            gossip_phi: 8.0,
            discovery_window: Duration::from_secs(1),
            min_members: 1,
            audit_interval: Duration::from_secs(60),
            max_sessions: 1_000_000,
            user_attribute: None,
            user_pointer: String::new(),
            max_sessions_per_user: 0,
            max_attributes: 256,
            max_key_bytes: 256,
            max_value_bytes: 1024 * 1024,
            max_session_bytes: 4 * 1024 * 1024,
            tombstone_retention: Duration::from_secs(24 * 60 * 60),
            max_tombstones: 10_485_760,
            secret: Vec::new(),
            secret_file: None,
            tls_cert: None,
            tls_key: None,
            tls_ca: None,
            tls_names: Vec::new(),
            accept_plaintext: false,
            insecure: false,
            origins: Origins::default(),
        }
    }
}

impl Config {
    /// Whether this node uses multicast discovery: the value of [`multicast`](Self::multicast), or if that is not set,
    /// whether there is no other way to find nodes.
    #[must_use]
    pub fn multicast_enabled(&self) -> bool {
        self.multicast.unwrap_or(self.seeds.is_empty() && self.dns.is_empty())
    }

    /// The addresses of the interfaces that beacons may use, the best one first: see
    /// [`multicast_interface`](Self::multicast_interface). Beacons always use IPv4, even if the node has an IPv6
    /// address.
    #[must_use]
    pub fn multicast_interfaces(&self) -> Vec<Ipv4Addr> {
        let of = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => Some(ip).filter(|ip| !ip.is_unspecified()),
            IpAddr::V6(ip) => ip.is_loopback().then_some(Ipv4Addr::LOCALHOST),
        };
        let set = of(self.multicast_interface.into()).or_else(|| of(self.bind.ip()));
        // It need not be an address of this host.
        let advertised = || self.advertise.and_then(|addr| of(addr.ip()));
        match set {
            Some(interface) => vec![interface],
            None => advertised().into_iter().chain([Ipv4Addr::UNSPECIFIED]).collect(),
        }
    }

    /// Refuses settings that no node can run with: a value out of its range, or values that contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::NameMissing);
        }
        load::check_each(self)?;
        self.check_secrets()?;
        self.check_certificates()?;
        self.check_addresses()?;
        if let (Mode::PrimaryBackup { backups }, Ack::Copies(ack_copies)) = (self.mode, self.ack)
            && ack_copies > backups
        {
            return Err(ConfigError::AckBeyondBackups { ack_copies, backups });
        }
        if self.user_attribute.is_none() && !self.user_pointer.is_empty() {
            return Err(ConfigError::PointerWithoutAttribute { pointer: self.user_pointer.clone() });
        }
        if self.max_value_bytes > self.max_session_bytes {
            return Err(ConfigError::ValueBeyondSession {
                value: self.max_value_bytes,
                session: self.max_session_bytes,
            });
        }
        Ok(())
    }

    /// What this node says to the others about things that concern them, too.
    pub(crate) fn terms(&self, user_rule: u64) -> Terms {
        Terms {
            mode: self.mode,
            commit_deadline_ms: millis(self.commit_deadline),
            gossip_interval_ms: millis(self.gossip_interval),
            max_inactive_ms: millis(self.max_inactive),
            tombstone_retention_ms: millis(self.tombstone_retention),
            max_tombstones: self.max_tombstones,
            max_attributes: self.max_attributes.into(),
            max_key_bytes: self.max_key_bytes.into(),
            max_value_bytes: self.max_value_bytes.into(),
            max_session_bytes: self.max_session_bytes.into(),
            max_sessions_per_user: self.max_sessions_per_user.into(),
            user_rule,
        }
    }

    /// Whether there is a cluster secret.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        !self.secret.is_empty() || self.secret_file.is_some()
    }

    /// Whether traffic between nodes is encrypted, and only who has the secret or a certificate takes part.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.has_secret() || self.tls_cert.is_some()
    }

    /// Where the certificates are and whose are accepted, if they are used.
    pub(crate) fn certificates(&self) -> Option<CertificateSettings<'_>> {
        let (cert, key, ca) = (self.tls_cert.as_deref()?, self.tls_key.as_deref()?, self.tls_ca.as_deref()?);
        Some(CertificateSettings { cert, key, ca, names: &self.tls_names, cluster: &self.cluster })
    }

    fn check_secrets(&self) -> Result<(), ConfigError> {
        if let (Some(path), false) = (&self.secret_file, self.secret.is_empty()) {
            return Err(ConfigError::SecretTwice { path: path.clone() });
        }
        if self.accept_plaintext && !self.is_protected() {
            return Err(ConfigError::PlaintextWithoutSecret);
        }
        Ok(())
    }

    fn check_certificates(&self) -> Result<(), ConfigError> {
        let all = [
            ("tls_cert", self.tls_cert.is_some()),
            ("tls_key", self.tls_key.is_some()),
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_names", !self.tls_names.is_empty()),
        ];
        let given = all.iter().find(|(_, is_given)| *is_given);
        let missing = all.iter().find(|(_, is_given)| !is_given);
        match (given, missing) {
            (Some((given, _)), Some((missing, _))) => Err(ConfigError::CertificatesIncomplete { given, missing }),
            (Some(_), None) if !self.has_secret() && self.multicast_enabled() => {
                Err(ConfigError::MulticastWithoutSecret)
            }
            _ => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        let reachable = self.advertise.unwrap_or(self.bind);
        if reachable.ip().is_unspecified() {
            return Err(ConfigError::Unadvertised { address: reachable });
        }
        // `[::]` takes both.
        let takes_both = self.bind.is_ipv6() && self.bind.ip().is_unspecified();
        if self.bind.ip().to_canonical().is_ipv4() != reachable.ip().to_canonical().is_ipv4() && !takes_both {
            return Err(ConfigError::OtherFamily { bind: self.bind, advertise: reachable });
        }
        let exposed = [("bind", Some(self.bind)), ("advertise", self.advertise)]
            .into_iter()
            .find_map(|(key, address)| Some((key, address?)).filter(|(_, a)| !is_loopback(a.ip())));
        match exposed {
            Some((key, address)) if !self.insecure && !self.is_protected() => {
                Err(ConfigError::Insecure { key, address })
            }
            _ => Ok(()),
        }
    }
}

/// Sees through IPv4 addresses mapped into IPv6.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
