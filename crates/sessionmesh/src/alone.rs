//! What a node that is alone has tried.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh_core::wire::version::Versions;

/// This node sees no other node although `seeds` or `dns` name some, or while multicast does not work. See
/// [`crate::Mesh::alone`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alone {
    /// How long this has lasted.
    pub lasts: Duration,
    /// Where the node looked, and what it found there, sorted by name, then by address.
    pub tried: Vec<Tried>,
}

/// A name or address at which a node looked for others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// The name as written in the settings; `multicast` if multicast does not work.
    pub name: String,
    /// One of the addresses that the name resolves to; `None` if it could not be resolved.
    pub addr: Option<SocketAddr>,
    /// What was found.
    pub outcome: Outcome,
}

/// What a node found where others should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The first look-up, or the first attempt to connect, is still under way.
    Pending,
    /// The name cannot be resolved, for this reason.
    NotFound(String),
    /// The address is that of this node itself.
    Itself,
    /// The host is up, but nobody listens at the port.
    Refused,
    /// A node of another cluster.
    AnotherCluster,
    /// A node that speaks no version of the protocol that this node speaks.
    OtherVersion {
        /// The versions that it speaks.
        theirs: Versions,
        /// Those of this node.
        ours: Versions,
    },
    /// A node that refuses this one, for this reason.
    Incompatible(String),
    /// A process listens there, but it is not a node.
    Stranger,
    /// A node or another process that is not encrypted, or has none of this node's secrets: for this reason.
    NotTrusted(String),
    /// No answer, for this reason. The host may be down, or a firewall may be in the way.
    Silent(String),
    /// Another node that has the name of this one.
    SameName,
    /// Beacons can be neither sent nor received, for this reason.
    NoMulticast(String),
    /// The node of this name answers over TCP, but no gossip arrives from it yet.
    Member(String),
}

impl Outcome {
    /// Whether it is certain that no other node of the cluster is there now.
    pub(crate) const fn is_nobody(&self) -> bool {
        matches!(
            self,
            Self::Itself
                | Self::Refused
                | Self::AnotherCluster
                | Self::OtherVersion { .. }
                | Self::Incompatible(_)
                | Self::Stranger
                | Self::NotTrusted(_)
        )
    }
}

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tried) in self.tried.iter().enumerate() {
            write!(f, "{}{tried}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.addr {
            Some(addr) if addr.to_string() != self.name => write!(f, " ({addr})")?,
            _ => {}
        }
        write!(f, ": {}", self.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("no answer yet"),
            Self::NotFound(why) => write!(f, "cannot be resolved: {why}"),
            Self::Itself => f.write_str("this node itself"),
            Self::Refused => f.write_str("nobody listens there"),
            Self::AnotherCluster => f.write_str("a node of another cluster (`cluster` differs)"),
            Self::OtherVersion { theirs, ours } => {
                write!(f, "a node that speaks version {theirs} of the protocol, this one {ours}; update the older one")
            }
            Self::Incompatible(why) => f.write_str(why),
            Self::Stranger => f.write_str("a process listens there, but it is not a node"),
            Self::NotTrusted(why) => write!(f, "not trusted: {why}"),
            Self::Silent(why) => write!(f, "no answer: {why}"),
            Self::SameName => f.write_str("another node has the name of this one"),
            Self::NoMulticast(why) => write!(f, "does not work: {why}"),
            Self::Member(name) => write!(f, "{name} answers over TCP, but no gossip arrives from it"),
        }
    }
}
