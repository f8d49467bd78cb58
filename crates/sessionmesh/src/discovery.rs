//! How nodes find each other.

use std::net::Ipv4Addr;

use crate::config::Config;

/// One way to find the other nodes. A node can use several; all run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery(Way);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Multicast(Option<(Ipv4Addr, u16)>),
    Seeds(Vec<String>),
    Dns(String),
}

impl Discovery {
    /// Multicast beacons to 228.0.0.4:45564, or to the configured group and port. Needs no configuration where the
    /// network carries multicast.
    #[must_use]
    pub const fn multicast() -> Self {
        Self(Way::Multicast(None))
    }

    /// Multicast beacons to this group and port.
    #[must_use]
    pub const fn multicast_group(group: Ipv4Addr, port: u16) -> Self {
        Self(Way::Multicast(Some((group, port))))
    }

    /// Fixed nodes, as `host:port`. It is enough that one of them is up. Naming this node itself does no harm.
    #[must_use]
    pub fn seeds<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self(Way::Seeds(seeds.into_iter().map(Into::into).collect()))
    }

    /// A name that resolves to all nodes, as `host:port`: a Kubernetes headless service. It is resolved again and
    /// again.
    #[must_use]
    pub fn dns(host_and_port: impl Into<String>) -> Self {
        Self(Way::Dns(host_and_port.into()))
    }

    pub(crate) fn apply(self, config: &mut Config) {
        match self.0 {
            Way::Multicast(at) => {
                config.multicast = Some(true);
                if let Some((group, port)) = at {
                    config.multicast_group = group;
                    config.multicast_port = port;
                }
            }
            Way::Seeds(seeds) => config.seeds.extend(seeds),
            Way::Dns(name) => config.dns.push(name),
        }
    }
}
