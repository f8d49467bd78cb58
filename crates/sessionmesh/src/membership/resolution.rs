//! Names that stand for members, resolved again and again: what answers today may not tomorrow.

use std::net::SocketAddr;
use std::sync::Arc;

use super::MembershipConfig;
use super::gossip::Gossip;
use crate::network::Network;

/// Addresses followed in one answer.
const ANSWERS_MAX: usize = 1_024;

/// Resolves `names` every `dns_interval` and gossips to each address that is no live member. Runs until dropped.
pub(super) async fn follow(
    names: Vec<String>,
    network: Arc<dyn Network>,
    config: Arc<MembershipConfig>,
    gossip: Arc<Gossip>,
) {
    let mut failing = vec![false; names.len()];
    let mut ticks = tokio::time::interval(config.dns_interval);
    loop {
        ticks.tick().await;
        for (name, failing) in names.iter().zip(&mut failing) {
            match network.resolve(name).await {
                Ok(addrs) => {
                    *failing = false;
                    introduce(&addrs, &config, &gossip).await;
                }
                Err(error) if !*failing => {
                    *failing = true;
                    tracing::warn!(name, %error, "a name of members cannot be resolved; trying on");
                }
                Err(error) => tracing::debug!(name, %error, "still not resolved"),
            }
        }
    }
}

async fn introduce(addrs: &[SocketAddr], config: &MembershipConfig, gossip: &Gossip) {
    let live = gossip.live_addrs().await;
    for &addr in addrs.iter().take(ANSWERS_MAX) {
        if addr != config.advertise && addr != config.bind && !live.contains(&addr) {
            gossip.reach(addr);
        }
    }
}
