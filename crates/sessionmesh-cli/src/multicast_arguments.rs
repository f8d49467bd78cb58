//! What `multicast-check` takes.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;

/// What `multicast-check` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct MulticastArgs {
    /// Multicast group
    #[arg(long, default_value = "228.0.0.4", value_parser = group)]
    pub(crate) group: Ipv4Addr,
    /// UDP port
    #[arg(long, default_value_t = 45564, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Check only the interface with this address [default: every IPv4 interface]
    #[arg(long, value_name = "IP")]
    pub(crate) interface: Option<Ipv4Addr>,
    /// Configuration file of a node: also check the interface that this node would use
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interface", "send", "listen"])]
    pub(crate) config: Option<PathBuf>,
    /// Only send, for a --listen on another machine
    #[arg(long, conflicts_with = "listen")]
    pub(crate) send: bool,
    /// Only listen, for a --send on another machine
    #[arg(long)]
    pub(crate) listen: bool,
    /// Seconds to send or listen [default: 10 with --send or --listen; otherwise at most 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// How many networks a datagram may cross; more than 1 needs routers that forward multicast
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8))]
    pub(crate) ttl: u8,
}

fn group(text: &str) -> Result<Ipv4Addr, String> {
    let is_group = |addr: &Ipv4Addr| addr.is_multicast();
    text.parse().ok().filter(is_group).ok_or_else(|| "not an address from 224.0.0.0 to 239.255.255.255".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_multicast_address_is_a_group() {
        assert_eq!(group("228.0.0.4"), Ok(Ipv4Addr::new(228, 0, 0, 4)));
        for other in ["10.0.0.1", "ff02::1", ""] {
            assert!(group(other).is_err(), "{other}");
        }
    }
}
