//! Names that stand for members, resolved again and again: what answers today may not tomorrow.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::MembershipConfig;
use super::gossip::Gossip;
use super::named::{LookedUp, Named};
use crate::network::Network;

/// Addresses followed in one answer.
const ANSWERS_MAX: usize = 1_024;
/// So long a look-up is waited for. What it answers later still counts.
pub(super) const LOOK_UP_MAX: Duration = Duration::from_secs(5);
/// Look-ups of one name that may be under way. The system's resolver may never answer, and each then keeps a thread.
const LOOK_UPS_MAX: usize = 4;
/// After a look-up that failed the next one comes so soon, unless `dns_interval` is shorter.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Follows names: resolves each of them every `dns_interval`, whatever becomes of the others, says what that gave in
/// `named`, and gossips to each address that is no live member.
pub(super) struct Resolution {
    pub(super) network: Arc<dyn Network>,
    pub(super) config: Arc<MembershipConfig>,
    pub(super) gossip: Arc<Gossip>,
    pub(super) named: watch::Sender<Named>,
}

impl Resolution {
    /// Runs until dropped.
    pub(super) async fn run(self, names: Vec<String>) {
        join_all(names.iter().map(|name| self.follow(name))).await;
    }

    async fn follow(&self, name: &str) {
        let mut under_way = FuturesUnordered::new();
        let mut failing = false;
        loop {
            while let Some(Some(late)) = under_way.next().now_or_never() {
                self.answered(name, late, &mut failing).await;
            }
            if under_way.len() < LOOK_UPS_MAX {
                under_way.push(self.network.resolve(name));
            }
            let answer = match timeout(LOOK_UP_MAX, under_way.next()).await {
                Ok(Some(answer)) => answer,
                Ok(None) | Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s")),
            };
            self.answered(name, answer, &mut failing).await;
            let pause = self.config.dns_interval;
            sleep(if failing { pause.min(FAILED_PAUSE) } else { pause }).await;
        }
    }

    /// Takes what a look-up gave. An error does not take away the addresses that were known before.
    async fn answered(&self, name: &str, answer: io::Result<Vec<SocketAddr>>, failing: &mut bool) {
        let was_failing = *failing;
        let none = || io::Error::other("it has no addresses");
        let answer = answer.and_then(|addrs| if addrs.is_empty() { Err(none()) } else { Ok(addrs) });
        *failing = answer.is_err();
        let looked_up = match answer {
            Ok(mut addrs) => {
                if was_failing {
                    tracing::info!(name, ?addrs, "a name of `seeds` or `dns` is resolved again");
                }
                addrs.truncate(ANSWERS_MAX);
                self.introduce(&addrs).await;
                LookedUp::At(addrs)
            }
            Err(error) => {
                if was_failing {
                    tracing::debug!(name, %error, "still not resolved");
                } else {
                    tracing::warn!(name, %error, "a name of `seeds` or `dns` cannot be resolved; trying again");
                }
                LookedUp::Failed(error.to_string())
            }
        };
        self.named.send_if_modified(|named| {
            let Some(known) = named.get_mut(name) else { return false };
            let keeps = *failing && matches!(known, LookedUp::At(_));
            if keeps || *known == looked_up {
                return false;
            }
            *known = looked_up;
            true
        });
    }

    async fn introduce(&self, addrs: &[SocketAddr]) {
        let live = self.gossip.live_addrs().await;
        for &addr in addrs {
            if addr != self.config.advertise && addr != self.config.bind && !live.contains(&addr) {
                self.gossip.reach(addr);
            }
        }
    }
}
