//! The settings of one node.
//!
//! A setting has one name everywhere: a field of [`Config`], a top-level key in a TOML file, and, in upper case after
//! `SESSIONMESH_`, an environment variable. Only the number in [`Config::mode`] and the one in [`Config::ack`] have keys and
//! variables of their own, `backups` and `ack_copies`. Lists are arrays in TOML and comma separated in a variable.
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
//! Reading checks each key that was given, so its error can say where the value came from. [`Config::validate`] checks
//! the whole, once, when nothing will change any more: a program may read a file first and set the name afterwards.

mod error;
mod keys;
mod load;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, Origin, SyntaxError};
pub use keys::{Allowed, ENV_PREFIX, KEYS};

use serde::{Deserialize, Serialize};
use sessionmesh_core::moment::millis;
use sessionmesh_core::replication::acks::Ack;
use sessionmesh_core::terms::{Mode, Terms};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// All settings of one node; the [module](self) says how to read them. Only [`name`](Self::name) has no default.
///
/// Durations are written with a unit, as `"500ms"`, `"30min"` or `"24h"`. Nodes of one cluster should have the same
/// settings except `name`, `bind`, `advertise` and `zone`; `cluster` has to be the same, and each node has to find
/// another one (`seeds`, `dns`, multicast). All others can be changed by a rolling restart. While nodes differ in `mode`, `backups`, `tombstone_retention` or a limit of sessions the largest
/// value counts on all of them, a warning names the values, and so does [`crate::Mesh::differences`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// Name of this node, unique in the cluster: 1 to 64 of `A-Z a-z 0-9 . _ -`. No default.
    ///
    /// Keep it over restarts (host name, StatefulSet pod name): sessions are placed by it, so a new name at every start
    /// moves sessions at every start. A node whose name a running one has refuses to start.
    pub name: String,
    /// Name of the cluster, same form as `name`. Default `sessionmesh`. Nodes of other clusters are ignored, so give
    /// each application its own when they share a network.
    pub cluster: String,
    /// Address to listen at; one port number serves TCP (replication) and UDP (gossip). Default `127.0.0.1:0`: loopback,
    /// any free port, for trying things out on one machine. Choose a fixed port when others name this node as a seed.
    pub bind: SocketAddr,
    /// Address that other nodes use for this one, if it is not `bind`: behind NAT, or when `bind` is `0.0.0.0` or `[::]`.
    /// Port 0 stands for the port that was bound. IPv6 if `bind` is, or IPv4 if that is; `[::]` takes both. In the
    /// environment also `[10.1.2.3]:7700`, for templates that do not know the family. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// Failure domain (rack, availability zone) of this node: 0 to 64 of the characters of `name`. Default empty.
    /// Backups go to other zones than their primary while there are any. Set it on all nodes or on none.
    pub zone: String,
    /// Which nodes hold a copy of a session. Default: a primary and one backup. While nodes differ the larger number of
    /// copies counts.
    ///
    /// Two keys in files and variables: `mode`, which is `all-to-all` or `primary-backup` (the default), and `backups`, the
    /// copies besides the primary's: 1 to 8, default 1. That many nodes may crash at the same moment; each one costs a
    /// message per write and the memory of a copy. `backups` is ignored for `all-to-all`.
    #[serde(flatten, with = "keys::mode")]
    pub mode: Mode,
    /// When a commit returns. Default: when every owner holds the change.
    ///
    /// Two keys in files and variables: `ack`, which is `local`, `copies` or `owners` (the default), and `ack_copies`, how
    /// many other nodes must hold a change: 1 to 255, default 1, at most `backups` in `primary-backup`. `ack_copies` is
    /// ignored but for `ack = "copies"`.
    #[serde(flatten, with = "keys::ack")]
    pub ack: Ack,
    /// Whether a commit fails when there is no other node to hold a copy. Default false: a node that is alone works and
    /// reports that it has no copies. True prefers an error page to a session that one crash can lose.
    pub strict: bool,
    /// The longest a commit waits, 50 ms to 60 s, default 500 ms. A peer that missed it is suspected and no longer waited
    /// for. Short: long garbage collection or network pauses look like failures. Long: a hung peer delays responses by as
    /// much once. Read leases (3/5 of it) and suspicion (after 7/10) follow from it; while nodes differ, leases between two
    /// of them from the shorter one.
    #[serde(with = "keys::duration")]
    pub commit_deadline: Duration,
    /// The longest a read asks other nodes before it fails with "cannot tell", 50 ms to 60 s, default 500 ms.
    /// Reads on an owner need no network and do not come near it.
    #[serde(with = "keys::duration")]
    pub read_deadline: Duration,
    /// Idle limit of a new session unless the program sets another, 100 ms to 365 days, default 30 min. A session that is
    /// not accessed for so long ends. Accesses are replicated once per tenth of it: very short limits cost traffic.
    #[serde(with = "keys::duration")]
    pub max_inactive: Duration,
    /// Whether to find nodes by multicast. Default none: on exactly when neither `seeds` nor `dns` is given. Clouds
    /// seldom carry multicast; use `dns` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast: Option<bool>,
    /// Multicast group of the beacons, an address in 224.0.0.0/4, default `228.0.0.4`.
    pub multicast_group: Ipv4Addr,
    /// UDP port of the beacons, 1 to 65535, default 45564.
    pub multicast_port: u16,
    /// Address of the interface for beacons. Default `0.0.0.0`: the one of `bind`, or if that names none, of `advertise`;
    /// if that is no address of this host, the system chooses. It may come and go while the node runs.
    pub multicast_interface: Ipv4Addr,
    /// How many networks a beacon may reach, 0 to 255, default 1: this network. 0 stays in this host; more needs routers
    /// that forward multicast.
    pub multicast_ttl: u32,
    /// Nodes to contact, as `host:port`, default none. Two or three that are usually up suffice: they name the others.
    pub seeds: Vec<String>,
    /// Names to resolve again and again, as `host:port`, default none. Every address of a name is contacted, as with a
    /// Kubernetes headless service; all nodes then use this one port.
    pub dns: Vec<String>,
    /// Time between two rounds of gossip, 20 ms to 10 s, default 200 ms. With the defaults a silent host is noticed after
    /// about 1 s; that time grows with this one, traffic with its inverse.
    #[serde(with = "keys::duration")]
    pub gossip_interval: Duration,
    /// How sure the failure detector must be (phi, no unit), 1 to 32, default 8. Lower finds a silent host sooner and
    /// more often wrongly; raise it where hosts are overcommitted.
    pub gossip_phi: f64,
    /// How long a starting node looks for others before it believes that it is alone, 0 to 60 s, default 1 s, counted
    /// from when each name of `seeds` and `dns` was looked up once. While a name cannot be looked up, or an address that
    /// is named does not answer at all, it goes on looking, for 10 s in all; a port that refuses connections is an answer.
    /// Readiness of the first node is delayed by it. Too short: for a moment after start, known sessions are not found.
    #[serde(with = "keys::duration")]
    pub discovery_window: Duration,
    /// Members, this node among them, without which it does not become ready, 1 to 1,024, default 1: a node that is alone
    /// is ready. More than half of the usual number keeps a node that cannot reach the others from taking visitors: until
    /// it is ready it answers "cannot tell" where others would know. It counts at the start, and when a node has to join
    /// anew; a node that is ready stays ready when others go, or a crash would take out those that survive it.
    pub min_members: u16,
    /// Time between two comparisons of digests with each peer, 1 s to 1 day, default 60 s. They repair what every other
    /// mechanism missed. In agreement one costs about 40 KiB at most.
    #[serde(with = "keys::duration")]
    pub audit_interval: Duration,
    /// With so many sessions held, copies included, a node creates no further ones; 1 to 1e12, default 1,000,000. It stops
    /// floods of visitors, and is no limit of memory: sessions may be of any size up to `max_session_bytes`, and copies that
    /// other nodes send are always taken. For memory count with `max_sessions` of the usual size on each node, and twice
    /// that for the time after a crash.
    pub max_sessions: u64,
    /// Attribute in whose JSON the user of a session stands, 1 to 256 bytes, such as `axum-login.data` or
    /// `actix_identity.user_id`. Default none: nothing is kept about users, and [`crate::Mesh::sessions_of`] is refused.
    /// The same on all nodes: while they differ, as in a rolling restart that changes it, lists of a user's sessions and
    /// ending all of them fail with "cannot tell", and a limit is not enforced. An indexed session takes about 60 bytes
    /// more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_attribute: Option<String>,
    /// Where in that JSON the user stands: a JSON pointer (RFC 6901) such as `/user_id`, of at most 256 bytes. Default
    /// empty: the whole value. Text and numbers are users, anything else is none. Only with `user_attribute`.
    pub user_pointer: String,
    /// Sessions of one user, 0 to 65,536, default 0: no limit. A login beyond it ends the user's longest idle other
    /// sessions before it returns; it takes a question to all nodes more. Needs `user_attribute` or a user index of the
    /// program. Best effort: not enforced while nodes cannot tell, and logins at the very same time may leave one too
    /// many until the next one.
    pub max_sessions_per_user: u32,
    /// Attributes that one session has at a time, 1 to 4,096, default 256. Of removed ones a session remembers the last 8,192
    /// keys, about 60 bytes and the key each; in its life it may have any number.
    pub max_attributes: u32,
    /// Length of a key in bytes, 1 to 65,535, default 256.
    pub max_key_bytes: u32,
    /// Length of an encoded value in bytes, 1 to 16 MiB, default 1 MiB; at most `max_session_bytes`. A changed value is
    /// sent whole, so prefer several small ones.
    pub max_value_bytes: u32,
    /// Keys and values that one session has at a time, in bytes, 1 to 16 MiB (the protocol's limit), default 4 MiB.
    pub max_session_bytes: u32,
    /// How long an ended session's id is remembered, 1 min to 365 days, default 24 h; never less than its idle limit. A
    /// node cut off for longer discards its copies when it returns. Longer costs memory for each ended session. While
    /// nodes differ, ids are remembered for the longest time, and a node that was cut off goes by the shortest.
    #[serde(with = "keys::duration")]
    pub tombstone_retention: Duration,
    /// Ended sessions that all nodes together remember, copies not counted; 4,096 to 1e9, default 10,485,760: each of 4,096
    /// slots a part of them, so fewer if nearly all sessions are made on one of many nodes. A node takes
    /// 46 to 64 bytes for each that it owns: with all-to-all at most 500 to 670 MB, with one backup on four nodes half of
    /// that. Beyond it those that ended first are forgotten before `tombstone_retention`, with a warning and counted in
    /// `Stats::tombstones_forgotten`: a node that was cut off for longer than the others remember may then bring such a
    /// session back. Those of the last ten `commit_deadline`s are never forgotten. While nodes differ the largest counts.
    pub max_tombstones: u64,
    /// Whether addresses beyond loopback are allowed without protection. Default false. Traffic is then neither
    /// encrypted nor authenticated: whoever reaches the port can read and write all sessions. Only for networks
    /// in which every machine is trusted.
    pub insecure: bool,
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
            insecure: false,
        }
    }
}

impl Config {
    /// Whether this node looks for others by multicast: as [`multicast`](Self::multicast) says, else when there is no
    /// other way to find them.
    #[must_use]
    pub fn multicast_enabled(&self) -> bool {
        self.multicast.unwrap_or(self.seeds.is_empty() && self.dns.is_empty())
    }

    /// The addresses of the interfaces that beacons may use, the best one first: see
    /// [`multicast_interface`](Self::multicast_interface). Beacons travel over IPv4, also those of a node that has an
    /// IPv6 address.
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

    /// Refuses what no node can run with: a value out of its range, or values that contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::NameMissing);
        }
        load::check_each(self)?;
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
            Some((key, address)) if !self.insecure => Err(ConfigError::Insecure { key, address }),
            _ => Ok(()),
        }
    }
}

/// Sees through IPv4 addresses mapped into IPv6.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
