//! How nodes find each other.

use std::net::Ipv4Addr;

use crate::config::Config;

/// One way to find the other nodes. Several may be given; all run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery(Way);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Multicast(Option<(Ipv4Addr, u16)>),
    Seeds(Vec<String>),
    Dns(String),
}

impl Discovery {
    /// Beacons to 228.0.0.4:45564 (or what the configuration says): no configuration at all, where the network carries
    /// multicast.
    #[must_use]
    pub const fn multicast() -> Self {
        Self(Way::Multicast(None))
    }

    /// Beacons to another group and port.
    #[must_use]
    pub const fn multicast_group(group: Ipv4Addr, port: u16) -> Self {
        Self(Way::Multicast(Some((group, port))))
    }

    /// Fixed nodes, as `host:port`. One that is up suffices; naming this node itself does no harm.
    #[must_use]
    pub fn seeds<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self(Way::Seeds(seeds.into_iter().map(Into::into).collect()))
    }

    /// A name that resolves to all nodes, as `host:port`, asked again and again: a Kubernetes headless service.
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
