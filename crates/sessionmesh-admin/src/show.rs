//! What is shown, as JSON. Times are in milliseconds (`_ms`) or RFC 3339; digests are hexadecimal text, since JavaScript's numbers
//! have 53 bits.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sessionmesh::{CopyContent, CopyState, Figures, MemberState, Mesh, Session, SessionCopy, SessionId, UserSession};

pub(crate) async fn health(mesh: &Mesh) -> Value {
    let health = mesh.health_with_progress().await;
    let finding = |finding: &sessionmesh::Finding| json!({ "name": finding.name, "hinders": finding.hinders, "text": finding.text });
    json!({
        "node": mesh.name(),
        "cluster": mesh.config().cluster,
        "state": health.state.name(),
        "live": health.is_live(),
        "ready": health.is_ready(),
        "findings": health.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

pub(crate) async fn members(mesh: &Mesh) -> Value {
    let stats = mesh.stats();
    let all: BTreeMap<_, _> = mesh.figures().await.into_iter().collect();
    let slots = primaries(mesh);
    let member = |member: sessionmesh::Member| {
        let peer = stats.peers.get(&*member.name);
        json!({
            "name": &*member.name,
            "addr": member.addr.to_string(),
            "zone": &*member.zone,
            "state": state(member.state),
            "incarnation": member.incarnation.to_string(),
            "this": *member.name == *mesh.name(),
            "primary_of_slots": slots.get(&*member.name).copied().unwrap_or_default(),
            "suspected": peer.is_some_and(|peer| peer.suspected),
            "figures": all.get(&member.name).copied().flatten().map(|figures| figures_of(&figures)),
            "link": peer.map(|peer| json!({
                "up": peer.connected,
                "version": peer.version,
                "waiting_sessions": peer.outbox,
                "oldest_ms": millis(peer.oldest),
            })),
        })
    };
    json!({ "node": mesh.name(), "members": mesh.members().into_iter().map(member).collect::<Vec<_>>() })
}

/// What a member says of itself.
fn figures_of(figures: &Figures) -> Value {
    json!({
        "primary": figures.primary,
        "replica": figures.replica,
        "ended": figures.ended,
        "bytes": figures.bytes,
        "waiting": figures.waiting,
        "commits": figures.commits,
        "local_reads": figures.local_reads,
        "remote_reads": figures.remote_reads,
        "cannot_tell": figures.cannot_tell,
        "late_ms": figures.late_ms,
    })
}

/// Of how many slots each member is the primary.
fn primaries(mesh: &Mesh) -> BTreeMap<String, usize> {
    let mut slots = BTreeMap::new();
    for owners in mesh.slots() {
        if let Some(primary) = owners.first() {
            *slots.entry(primary.to_string()).or_default() += 1;
        }
    }
    slots
}

pub(crate) fn slots(mesh: &Mesh) -> Value {
    let names: Vec<String> = mesh.members().iter().map(|member| member.name.to_string()).collect();
    let at = |name: &std::sync::Arc<str>| names.iter().position(|known| **known == **name);
    let owners: Vec<Vec<Option<usize>>> = mesh.slots().iter().map(|owners| owners.iter().map(at).collect()).collect();
    json!({ "members": names, "owners": owners })
}

pub(crate) fn stats(mesh: &Mesh) -> Value {
    let stats = mesh.stats();
    let mut commits = serde_json::Map::new();
    for by in &stats.commits_by {
        commits.entry(by.ack).or_insert_with(|| json!({}))[by.outcome.name()] = by.count.into();
    }
    json!({
        "node": mesh.name(),
        "sessions": { "primary": stats.primary, "replica": stats.replica, "all": stats.sessions, "ended": stats.ended },
        "bytes": stats.bytes,
        "commits": commits,
        "reads": { "local": stats.local_reads, "remote": stats.remote_reads, "cannot_tell": stats.cannot_tell },
        "deltas": { "sent": stats.deltas_sent, "received": stats.deltas_received, "mismatched": stats.mismatches },
        "waiting": { "commits": stats.waiting_commits, "sessions": stats.outbox, "batches": stats.in_flight },
        "audit_differences": stats.audit_differences,
        "late_ms": stats.late_ms,
        "busy": stats.busy,
        "events": stats.events,
        "refusals": stats.refusals.by_reason().into_iter().collect::<BTreeMap<_, _>>(),
    })
}

pub(crate) fn config(mesh: &Mesh) -> Value {
    let terms = mesh.in_force();
    let difference =
        |difference: &sessionmesh::Difference| json!({ "setting": difference.setting, "text": difference.to_string() });
    json!({
        "node": mesh.name(),
        "settings": serde_json::to_value(mesh.config()).unwrap_or_default(),
        "origins": mesh.config().origins().into_iter().map(|(key, origin)| (key, origin.to_string())).collect::<BTreeMap<_, _>>(),
        "in_force": { "mode": terms.mode.to_string(), "max_inactive_ms": terms.max_inactive_ms },
        "differences": mesh.differences().iter().map(difference).collect::<Vec<_>>(),
    })
}

pub(crate) fn session(mesh: &Mesh, id: SessionId, copies: &[SessionCopy]) -> Value {
    let digests: Vec<_> = copies.iter().filter(|copy| copy.is_owner).map(|copy| copy.state.digest()).collect();
    let equal = digests.iter().all(|digest| digest.is_some() && *digest == digests[0]);
    json!({
        "session": id.to_string(),
        "slot": id.slot().number(),
        "owners": mesh.owners(id).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "copies_equal": equal,
        "copies": copies.iter().map(copy).collect::<Vec<_>>(),
    })
}

fn copy(copy: &SessionCopy) -> Value {
    let (state, content) = match &copy.state {
        CopyState::NoAnswer => ("no_answer", Value::Null),
        CopyState::Nothing => ("nothing", Value::Null),
        CopyState::Live(content) => ("live", of_content(content)),
        CopyState::Expired(content) => ("expired", of_content(content)),
        CopyState::Ended { has_successor: true, .. } => ("renewed", Value::Null),
        CopyState::Ended { .. } => ("ended", Value::Null),
        _ => ("unknown", Value::Null),
    };
    json!({
        "node": &*copy.node,
        "primary": copy.is_primary,
        "owner": copy.is_owner,
        "state": state,
        "digest": copy.state.digest().map(|digest| format!("{digest:016x}")),
        "content": content,
    })
}

fn of_content(content: &CopyContent) -> Value {
    json!({
        "revision": content.revision.to_string(),
        "idle_ms": millis(content.idle),
        "max_inactive_ms": millis(content.max_inactive),
        "created_ms": content.created_ms,
        "attributes": content.attributes,
        "bytes": content.bytes,
    })
}

/// Values that are JSON as such, others as the number of their bytes.
pub(crate) fn values(session: &Session) -> Value {
    let value = |key: &std::sync::Arc<str>| {
        let bytes = session.get_bytes(key).unwrap_or_default();
        let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({ "bytes": bytes.len() }));
        (key.to_string(), value)
    };
    session.keys().iter().map(value).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) fn user(user: &str, found: &[UserSession]) -> Value {
    let session = |session: &UserSession| {
        json!({
            "session": session.id.to_string(),
            "idle_ms": millis(session.idle),
            "max_inactive_ms": millis(session.max_inactive),
            "created_ms": session.created_ms,
        })
    };
    json!({ "user": user, "sessions": found.iter().map(session).collect::<Vec<_>>() })
}

const fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Ready => "ready",
        MemberState::Leaving => "leaving",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
