//! After the faults: the cluster settles, and every node says the same of every session.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::sleep;

use super::Hunt;
use crate::checker::{GOES_ON, Op, SETTLES};
use crate::clock::Ms;
use crate::network::Network;
use crate::visitor::Site;

/// The cluster settles so long after all is healed, as is promised.
pub(super) const SETTLES_WITHIN_MS: Ms = 40_000;
/// What is not promised: that which only an audit repairs, at most 60 s later by default. It is counted, and no failure: what
/// the system of a node that was killed still sends arrives after the healing, at one of the owners alone.
const REPAIRS_WITHIN_MS: Ms = SETTLES_WITHIN_MS + 70_000;
/// Before another look at what is not yet as it must be.
const LOOK: Duration = Duration::from_millis(50);
/// Requests at the same time.
const PARALLEL: usize = 12;

impl Hunt {
    /// Waits until all has settled, with the visitors paused, and judges what all nodes say then. How long it took.
    pub(super) async fn settle(&mut self) -> anyhow::Result<Ms> {
        let site = self.site.clone();
        let healed = site.clock.now();
        let paused = site.pause().await;
        let mut unrest = self.unrest().await?;
        while unrest.is_some() && site.clock.now() < healed + REPAIRS_WITHIN_MS {
            sleep(LOOK).await;
            unrest = self.unrest().await?;
        }
        site.checker().demand(SETTLES, unrest.is_none(), None, unrest.unwrap_or_default());
        let mut left = self.open_sessions();
        loop {
            let last_look = site.clock.now() >= healed + REPAIRS_WITHIN_MS;
            let looks = futures::stream::iter(left).map(|session| look(&site, self.system.nodes(), session));
            let answers: Vec<(usize, Vec<Op>)> = looks.buffer_unordered(PARALLEL).collect().await;
            left = self.judge(&answers, last_look);
            if left.is_empty() {
                break;
            }
            sleep(LOOK).await;
        }
        let now = site.clock.now();
        site.checker().world.settled(now);
        drop(paused);
        Ok(now - healed)
    }

    /// Judges the answers of all nodes. Those sessions about which another look may say better.
    fn judge(&self, answers: &[(usize, Vec<Op>)], last_look: bool) -> Vec<usize> {
        let mut checker = self.site.checker();
        let mut left = Vec::new();
        for (session, answers) in answers {
            if checker.judge_settled(*session, answers, last_look) {
                checker.settle(*session, &answers[0].said, self.site.clock.now());
            } else if !last_look {
                left.push(*session);
            }
        }
        left
    }

    /// What is not yet at rest.
    async fn unrest(&mut self) -> anyhow::Result<Option<String>> {
        let nodes = self.system.nodes();
        for node in 0..nodes {
            if let Some(status) = self.system.ended(node)? {
                let log = self.system.last_lines(node);
                let detail = format!("node {} ended with {status}:\n{log}", Network::name(node));
                let mut checker = self.site.checker();
                checker.demand(GOES_ON, false, None, detail);
                checker.world.crashed(node, self.site.clock.now());
                checker.world.started(node);
                drop(checker);
                self.system.start(node)?;
            }
            let status = self.system.status(node).await;
            if !status.ready || status.members != nodes || status.outbox > 0 || status.suspected > 0 {
                return Ok(Some(format!("node {}: {status:?}", Network::name(node))));
            }
        }
        Ok(None)
    }

    /// Sessions that are not known to be over.
    fn open_sessions(&self) -> Vec<usize> {
        let checker = self.site.checker();
        let open = checker.sessions.iter().enumerate();
        let open = open.filter(|(_, session)| !session.over && !session.given_up && session.cookie.is_some());
        open.map(|(number, _)| number).collect()
    }
}

/// What every node says of a session.
async fn look(site: &Site, nodes: usize, session: usize) -> (usize, Vec<Op>) {
    let mut answers = Vec::new();
    for node in 0..nodes {
        answers.push(site.look(session, node).await);
    }
    (session, answers)
}
