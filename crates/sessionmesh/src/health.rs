//! How a node is, in words: for probes, pages and people.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::placement::view::MemberState;
use tokio::time::Instant;

use crate::alone::Alone;
use crate::engine::read::figures_of_members;
use crate::engine::state::node::Node;
use crate::engine::state::parts::Expected;
use crate::engine::upkeep::ready;
use crate::lock::lock;
use crate::mesh::Mesh;
use crate::stats::{Stats, collect};

/// How a node is: see [`Mesh::health`](crate::Mesh::health).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// What the node does.
    pub state: NodeState,
    /// What a person should know of, the gravest first; none if all is well.
    pub findings: Vec<Finding>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It serves, but has not received all that it must hold.
    Joining,
    /// It has all that it must hold, and serves it.
    Ready,
    /// It hands over what it holds, and serves until it stops.
    Leaving,
    /// It has left.
    Left,
    /// It has stopped by itself: its process should be started again.
    Failed,
}

/// Something that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// A word for programs. Where there is an [`Event`](crate::Event) for the same, it is the event's name.
    pub name: &'static str,
    /// Whether the node is not ready because of it. Otherwise it serves all the same.
    pub hinders: bool,
    /// What it is and, where something can be done, what to do.
    pub text: String,
}

impl Health {
    /// Whether the process is of use: a supervisor should start another one if not. Also while the node joins or leaves.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self.state, NodeState::Failed)
    }

    /// Whether visitors should be sent here.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, NodeState::Ready)
    }
}

impl NodeState {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// The state, and behind it what hinders.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.name())?;
        let mut before = ": ";
        for finding in self.findings.iter().filter(|finding| finding.hinders || self.is_ready()) {
            write!(f, "{before}{}", finding.text)?;
            before = "; ";
        }
        Ok(())
    }
}

impl Mesh {
    /// As [`Mesh::health`]. A node that joins asks the members before, at most five times a second, how much they have for it; so it can
    /// say how many sessions it has of how many. That takes at most `read_deadline`.
    pub async fn health_with_progress(&self) -> Health {
        if !self.is_ready() {
            ask_for_progress(&self.node).await;
        }
        self.health()
    }
}

/// How this node is now. `is_ready`: as it was told; `alone`: what it tried if it is alone.
pub(crate) fn of(node: &Node, is_ready: bool, alone: Option<Alone>) -> Health {
    let stats = collect::of(node);
    let state = state_of(node, is_ready);
    let mut findings = Vec::new();
    let mut find = |name, hinders, text: String| findings.push(Finding { name, hinders, text });
    match state {
        NodeState::Failed => {
            let failure = node.lifecycle.life.failure().map(ToString::to_string);
            find("failed", true, failure.unwrap_or_else(|| "this node has stopped; start it again".to_owned()));
        }
        NodeState::Left => find("left", true, "this node has left the cluster".to_owned()),
        NodeState::Leaving => {
            find("leaving", true, format!("{} sessions are still to be handed over", stats.sessions + stats.ended));
        }
        NodeState::Joining => joining(node, &stats, &mut find),
        NodeState::Ready => {}
    }
    if !matches!(state, NodeState::Failed | NodeState::Left) {
        if let Some(alone) = alone {
            let text = "no other node was found, although the settings name some; sessions have no copies";
            find("alone", false, format!("{text}. Tried: {alone}"));
        }
        note_states(&stats, &mut find);
    }
    Health { state, findings }
}

fn state_of(node: &Node, is_ready: bool) -> NodeState {
    let topology = node.cluster.topology.load();
    let leaves = topology.view.members()[usize::from(topology.me)].state == MemberState::Leaving;
    match node.lifecycle.stop.is_cancelled() {
        true if node.lifecycle.life.failure().is_some() => NodeState::Failed,
        true => NodeState::Left,
        false if leaves => NodeState::Leaving,
        false if is_ready => NodeState::Ready,
        false => NodeState::Joining,
    }
}

fn joining(node: &Node, stats: &Stats, find: &mut impl FnMut(&'static str, bool, String)) {
    let present = stats.members.iter().filter(|(state, _)| **state != "leaving").map(|(_, count)| count).sum::<usize>();
    let wanted = usize::from(node.config.min_members);
    if present < wanted {
        find("members_missing", true, format!("there are {present} members, and `min_members` is {wanted}"));
    }
    let expected = lock(&node.lifecycle.expected).map(|expected| expected.sessions);
    find("joining", true, progress(stats.sessions, expected, &ready::owing(node)));
}

/// How far a node that joins has come. `owing`: those who have not given all.
fn progress(sessions: usize, expected: Option<usize>, owing: &[String]) -> String {
    if owing.is_empty() {
        return format!("{sessions} sessions received; waiting for the view to settle");
    }
    let of = expected.filter(|expected| *expected > sessions).map(|expected| format!(" of about {expected}"));
    format!("{sessions}{} sessions received; more are to come from {}", of.unwrap_or_default(), owing.join(", "))
}

/// The least time between two rounds of questions about what is to come, whoever wants to know.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Asks those who have not given all how much they still have to send.
async fn ask_for_progress(node: &Arc<Node>) {
    if ready::owing(node).is_empty() {
        return;
    }
    let now = Instant::now();
    {
        let mut expected = lock(&node.lifecycle.expected);
        if expected.is_some_and(|before| now.duration_since(before.asked) < ASK_EVERY) {
            return;
        }
        // Until they have answered, what they said before holds.
        expected.get_or_insert(Expected { asked: now, sessions: 0 }).asked = now;
    }
    let all = figures_of_members::of(node).await;
    let owing = ready::owing(node);
    let owes = |name: &str| owing.iter().any(|owing| owing == name);
    let to_come: u64 =
        all.iter().filter(|(name, _)| owes(name)).filter_map(|(_, figures)| Some(figures.as_ref()?.waiting)).sum();
    let sessions = node.store.live().saturating_add(usize::try_from(to_come).unwrap_or(usize::MAX));
    *lock(&node.lifecycle.expected) = Some(Expected { asked: now, sessions });
}

/// What does not hinder, but should not last.
fn note_states(stats: &Stats, find: &mut impl FnMut(&'static str, bool, String)) {
    if let Some(blind) = &stats.blindness {
        let missing = blind.missing.join(", ");
        let text = "all nodes that held some sessions have vanished; visitors with unknown ids are asked to come again";
        find("blind", false, format!("{text} (missing: {missing}; {} of 4096 slots)", blind.slots));
    }
    if !stats.suspected.is_empty() {
        find("member_suspected", false, format!("no answer in time from {}", stats.suspected.join(", ")));
    }
    if stats.busy {
        let text = "this host is too busy: the work of this node waits for a processor";
        find("host_busy", false, format!("{text} for {} ms", stats.late_ms));
    }
    if stats.settings_differ > 0 {
        let text = "settings that should be the same on all nodes differ; see the log, or `/v1/config`";
        find("setting_differs", false, format!("{text} ({} settings)", stats.settings_differ));
    }
    if let Some(left) = stats.certificate_remaining.filter(|left| *left < EXPIRES_SOON) {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        find(
            "certificate_expiring",
            false,
            format!("the certificate in `tls_cert` is valid for {left} only; renew it"),
        );
    }
    if stats.insecure {
        let text = "other machines can reach this node, and its traffic is neither encrypted nor authenticated";
        find("insecure", false, text.to_owned());
    }
}

/// A certificate that is valid for less than this is a finding, however long it was valid in all.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_says_how_many_sessions_of_how_many_it_has() {
        let owing = ["web-1".to_owned(), "web-2".to_owned()];
        let text = progress(300, Some(1000), &owing);
        assert_eq!(text, "300 of about 1000 sessions received; more are to come from web-1, web-2");
        let unknown = "300 sessions received; more are to come from web-1, web-2";
        assert_eq!(progress(300, None, &owing), unknown);
        assert_eq!(progress(300, Some(200), &owing), unknown, "what was said is old");
        assert_eq!(progress(300, Some(1000), &[]), "300 sessions received; waiting for the view to settle");
    }
}
