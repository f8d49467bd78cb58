//! What happens in the cluster, for applications to listen to.
//!
//! What an operator may want to be told of is an [`Event`], a line of the log and a count of `sessionmesh_events_total`, all of
//! the same name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use tracing::{Level, debug, info, warn};

/// Something that happened in the cluster, or to this node.
///
/// Each event of a session is emitted on one node only: the creation where the session was created, the end on the primary of
/// its slot. Each node emits the other events as it sees them.
///
/// Its text is that of the log; [`Event::name`] is its name in the log (field `event`) and in the metrics
/// (`sessionmesh_events_total`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session was created.
    Created {
        /// Its id.
        id: SessionId,
    },
    /// A session was idle for longer than its limit. All its owners know that it has ended, except those that did not
    /// answer within the commit deadline.
    Expired {
        /// Its id.
        id: SessionId,
    },
    /// A session was ended.
    Invalidated {
        /// Its id.
        id: SessionId,
    },
    /// A session continues under a new id.
    Renewed {
        /// The id that has ended.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A session moved to a new id, see [`crate::Session::move_home`].
    Moved {
        /// The id that has ended, but stays readable for a while.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A commit was made, but not acknowledged by as many nodes as it asked for before its deadline. It continues to replicate.
    CommitTimedOut {
        /// The session.
        id: SessionId,
        /// Other nodes that acknowledged it in time.
        copies: usize,
    },
    /// A commit or a new session would have exceeded a limit of the settings, and nothing was changed.
    LimitReached {
        /// The setting.
        limit: &'static str,
    },
    /// It could not be told whether a session exists, or which sessions a user has: visitors were asked to come again.
    CannotTell {
        /// Why.
        why: &'static str,
    },
    /// More sessions ended than `max_tombstones` allows to remember, and the earliest ends were forgotten: an old copy of such a
    /// session may come back.
    TombstonesForgotten {
        /// How many.
        count: u64,
    },
    /// A node joined the view of this node.
    MemberUp {
        /// Its name.
        name: Arc<str>,
    },
    /// A node left the view of this node. The name of the event is `member_left` if that was announced.
    MemberDown {
        /// Its name.
        name: Arc<str>,
        /// Whether the node had announced that it leaves.
        planned: bool,
    },
    /// A member does not answer in time. Commits will stop waiting for it, and it does not answer for its copies.
    MemberSuspected {
        /// Its name.
        name: Arc<str>,
    },
    /// Commits are acknowledged without a suspected member from now on: others stand in for it.
    MemberLeftOut {
        /// Its name.
        name: Arc<str>,
    },
    /// A member that was suspected answers again and has all that it missed.
    MemberReinstated {
        /// Its name.
        name: Arc<str>,
    },
    /// This node goes by another view: members came, left, or changed their states.
    ViewChanged {
        /// How many members it has.
        members: usize,
    },
    /// This node has received all that it must hold. Again after [`Event::CopiesDiscarded`].
    Ready {
        /// Sessions that it holds.
        sessions: usize,
        /// Members whose copies it does without, because they were silent for long.
        without: Vec<String>,
    },
    /// This node is not ready because there are fewer members than `min_members`. Once a minute.
    MembersMissing {
        /// How many there are.
        members: usize,
        /// `min_members`.
        wanted: usize,
    },
    /// No other node was found, although the settings name some: see [`crate::Mesh::alone`]. Once a minute.
    Alone {
        /// Whether nodes of this cluster answer, though no gossip arrives from them; then this node is not ready.
        cut_off: bool,
        /// Since when.
        lasts: Duration,
        /// What was tried, and what came of it.
        tried: String,
    },
    /// [`Event::Alone`] is over.
    NotAlone,
    /// All nodes that held some sessions have vanished: see [`crate::Mesh::blindness`].
    Blind {
        /// The missing members.
        missing: Vec<Arc<str>>,
        /// How many of the 4096 slots are concerned.
        slots: usize,
    },
    /// [`Event::Blind`] is over.
    NotBlind,
    /// This node was cut off for longer than tombstones are kept: it discards its copies and joins again.
    CopiesDiscarded,
    /// This node begins to leave.
    Leaving {
        /// Sessions that it holds.
        sessions: usize,
    },
    /// No other node stayed to take the sessions of this node, and they ended with it.
    SessionsLost {
        /// How many.
        sessions: usize,
    },
    /// This host is too busy: the work of this node waits for a processor.
    HostBusy {
        /// For so long, in milliseconds.
        late_ms: u64,
    },
    /// [`Event::HostBusy`] is over.
    HostCalm {
        /// For how long the work of this node waits now, in milliseconds.
        late_ms: u64,
    },
    /// An anti-entropy comparison found copies that differ, and repairs them. While members stay it never should.
    AuditDiffers {
        /// The member that it was made with.
        name: Arc<str>,
        /// Slots that differ.
        slots: usize,
    },
    /// A setting that should be the same on all members is not.
    SettingDiffers {
        /// The setting.
        setting: &'static str,
        /// Its values, and the members that have them.
        values: String,
    },
    /// [`Event::SettingDiffers`] is over.
    SettingAgrees {
        /// The setting.
        setting: &'static str,
    },
    /// The certificate in use expires soon, or has expired. Once an hour; in the last hour, once a minute.
    CertificateExpiring {
        /// How long it is still valid; zero if it has expired.
        left: Duration,
    },
    /// A connection was refused.
    Refused {
        /// The reason, as in [`crate::Refusals::by_reason`].
        reason: &'static str,
        /// Where it came from, and what was wrong.
        text: String,
    },
    /// Links to other nodes cannot be opened for want of file descriptors.
    DescriptorsMissing,
}

/// So many kinds of events may come many times a second: see [`Event::frequent`].
pub(crate) const FREQUENT_KINDS: usize = 4;

impl Event {
    /// The names of all events, in the order of their definition.
    pub const NAMES: &'static [&'static str] = &[
        "session_created",
        "session_expired",
        "session_invalidated",
        "session_renewed",
        "session_moved",
        "commit_timed_out",
        "limit_reached",
        "cannot_tell",
        "tombstones_forgotten",
        "member_up",
        "member_down",
        "member_left",
        "member_suspected",
        "member_left_out",
        "member_reinstated",
        "view_changed",
        "ready",
        "members_missing",
        "alone",
        "not_alone",
        "blind",
        "not_blind",
        "copies_discarded",
        "leaving",
        "sessions_lost",
        "host_busy",
        "host_calm",
        "audit_differs",
        "setting_differs",
        "setting_agrees",
        "certificate_expiring",
        "refused",
        "descriptors_missing",
    ];

    /// Its name: one of [`Event::NAMES`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// The session of an event of a session.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Created { id }
            | Self::Expired { id }
            | Self::Invalidated { id }
            | Self::Renewed { id, .. }
            | Self::Moved { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Where its name stands in [`Event::NAMES`].
    pub(crate) const fn number(&self) -> usize {
        match self {
            Self::Created { .. } => 0,
            Self::Expired { .. } => 1,
            Self::Invalidated { .. } => 2,
            Self::Renewed { .. } => 3,
            Self::Moved { .. } => 4,
            Self::CommitTimedOut { .. } => 5,
            Self::LimitReached { .. } => 6,
            Self::CannotTell { .. } => 7,
            Self::TombstonesForgotten { .. } => 8,
            Self::MemberUp { .. } => 9,
            Self::MemberDown { planned: false, .. } => 10,
            Self::MemberDown { planned: true, .. } => 11,
            Self::MemberSuspected { .. } => 12,
            Self::MemberLeftOut { .. } => 13,
            Self::MemberReinstated { .. } => 14,
            Self::ViewChanged { .. } => 15,
            Self::Ready { .. } => 16,
            Self::MembersMissing { .. } => 17,
            Self::Alone { .. } => 18,
            Self::NotAlone => 19,
            Self::Blind { .. } => 20,
            Self::NotBlind => 21,
            Self::CopiesDiscarded => 22,
            Self::Leaving { .. } => 23,
            Self::SessionsLost { .. } => 24,
            Self::HostBusy { .. } => 25,
            Self::HostCalm { .. } => 26,
            Self::AuditDiffers { .. } => 27,
            Self::SettingDiffers { .. } => 28,
            Self::SettingAgrees { .. } => 29,
            Self::CertificateExpiring { .. } => 30,
            Self::Refused { .. } => 31,
            Self::DescriptorsMissing => 32,
        }
    }

    /// The number of its kind among those that may come many times a second. The log has one of a kind in ten seconds, with the
    /// number of those left out.
    pub(crate) const fn frequent(&self) -> Option<usize> {
        match self {
            Self::CommitTimedOut { .. } => Some(0),
            Self::LimitReached { .. } => Some(1),
            Self::CannotTell { .. } => Some(2),
            Self::DescriptorsMissing => Some(FREQUENT_KINDS - 1),
            _ => None,
        }
    }

    /// How loud the log says it.
    pub(crate) const fn level(&self) -> Level {
        match self {
            Self::Created { .. }
            | Self::Expired { .. }
            | Self::Invalidated { .. }
            | Self::Renewed { .. }
            | Self::Moved { .. }
            | Self::CannotTell { .. }
            | Self::ViewChanged { .. } => Level::DEBUG,
            Self::MemberUp { .. }
            | Self::MemberDown { planned: true, .. }
            | Self::MemberLeftOut { .. }
            | Self::MemberReinstated { .. }
            | Self::NotAlone
            | Self::NotBlind
            | Self::Leaving { .. }
            | Self::HostCalm { .. }
            | Self::SettingAgrees { .. } => Level::INFO,
            Self::Ready { without, .. } if without.is_empty() => Level::INFO,
            _ => Level::WARN,
        }
    }

    /// Writes it into the log. `unsaid`: so many of its kind were left out before.
    pub(crate) fn log(&self, unsaid: u64) {
        let event = self.name();
        let more = match unsaid {
            0 => String::new(),
            more => format!(" (and {more} times more)"),
        };
        match self.level() {
            Level::DEBUG => debug!(event, "{self}{more}"),
            Level::INFO => info!(event, "{self}{more}"),
            _ => warn!(event, "{self}{more}"),
        }
    }
}

/// As the log has it: what happened, what it means, and what to do where there is something to do.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { id } => write!(f, "session {id} was created"),
            Self::Expired { id } => write!(f, "session {id} expired"),
            Self::Invalidated { id } => write!(f, "session {id} was ended"),
            Self::Renewed { id, successor } => write!(f, "session {id} goes on as {successor}"),
            Self::Moved { id, successor } => write!(f, "session {id} moved to {successor}"),
            Self::CommitTimedOut { id, copies } => write!(
                f,
                "a commit of session {id} was acknowledged by {copies} other nodes only before its deadline; it continues to \
                 replicate"
            ),
            Self::LimitReached { limit } => write!(f, "a change was refused: it would exceed `{limit}`"),
            Self::CannotTell { why } => write!(f, "a visitor is asked to come again: {why}"),
            Self::TombstonesForgotten { count } => write!(
                f,
                "more sessions ended than `max_tombstones` allows to remember; the earliest {count} ends are forgotten"
            ),
            Self::MemberUp { name } => write!(f, "member up: {name}"),
            Self::MemberDown { name, planned: true } => write!(f, "member left: {name}"),
            Self::MemberDown { name, planned: false } => write!(f, "member down: {name}"),
            Self::MemberSuspected { name } => {
                write!(f, "{name} is suspected: it does not answer in time; commits stop waiting for it")
            }
            Self::MemberLeftOut { name } => write!(f, "commits are acknowledged without {name}, which is suspected"),
            Self::MemberReinstated { name } => write!(f, "{name} is no longer suspected"),
            Self::ViewChanged { members } => write!(f, "another view, of {members} members"),
            other => other.fmt_of_this_node(f),
        }
    }
}

impl Event {
    /// The text of an event that is about this node, and not about sessions or members.
    fn fmt_of_this_node(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { sessions, without } if without.is_empty() => write!(f, "ready, with {sessions} sessions"),
            Self::Ready { sessions, without } => write!(
                f,
                "ready, with {sessions} sessions, but without what these nodes hold, because they were silent: {}",
                without.join(", ")
            ),
            Self::MembersMissing { members, wanted } => {
                write!(f, "not ready: there are {members} members, and `min_members` is {wanted}")
            }
            Self::Alone { cut_off: true, tried, .. } => write!(
                f,
                "cut off: nodes of this cluster answer, but no gossip arrives from them; is UDP blocked? This node is not ready \
                 until gossip arrives. Tried: {tried}"
            ),
            Self::Alone { cut_off: false, lasts, tried } => write!(
                f,
                "alone for {}: no other node of this cluster was found; sessions have no copies, and sessions of other nodes \
                 are not found. Tried: {tried}",
                humantime::format_duration(Duration::from_secs(lasts.as_secs()))
            ),
            Self::NotAlone => f.write_str("no longer alone"),
            Self::Blind { missing, slots } => write!(
                f,
                "all nodes that held some sessions have vanished ({}): visitors with an unknown id in {slots} of the 4096 slots \
                 are asked to come again. Start these nodes again; if they will not return, `Mesh::forget_lost`",
                missing.join(", ")
            ),
            Self::NotBlind => f.write_str("what vanished nodes held is accounted for; every id can be told again"),
            Self::CopiesDiscarded => f.write_str(
                "this node was cut off for longer than tombstones are kept; it discards its copies and joins again",
            ),
            Self::Leaving { sessions } => write!(f, "leaving, with {sessions} sessions"),
            Self::SessionsLost { sessions } => {
                write!(f, "no other node stays to take the {sessions} sessions; they end with this node")
            }
            Self::HostBusy { late_ms } => write!(
                f,
                "this host is too busy: the work of this node waits {late_ms} ms for a processor. Requests are slow, and fail \
                 when this comes near `commit_deadline`. Give it more processor time, or raise `commit_deadline`"
            ),
            Self::HostCalm { late_ms } => write!(f, "this host is no longer too busy: {late_ms} ms"),
            Self::AuditDiffers { name, slots } => {
                write!(f, "a comparison with {name} found {slots} slots that differ; they are repaired")
            }
            Self::SettingDiffers { values, .. } => write!(f, "settings differ between nodes: {values}"),
            Self::SettingAgrees { setting } => write!(f, "`{setting}` is the same on all nodes again"),
            Self::CertificateExpiring { left: Duration::ZERO } => {
                f.write_str("the certificate in `tls_cert` HAS EXPIRED: no other node accepts it; renew it")
            }
            Self::CertificateExpiring { left } => write!(
                f,
                "the certificate in `tls_cert` expires in {}; renew it, the file is followed",
                humantime::format_duration(Duration::from_secs(left.as_secs()))
            ),
            Self::Refused { text, .. } => write!(f, "refused a connection: {text}"),
            Self::DescriptorsMissing => {
                f.write_str("links to other nodes cannot be opened; allow more open files, or fewer visitors")
            }
            // The others have their text above.
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Event::NAMES.iter().copied().collect();
        assert_eq!(names.len(), Event::NAMES.len());
        let name: Arc<str> = "a".into();
        let down = |planned| Event::MemberDown { name: name.clone(), planned };
        assert_eq!([down(false).name(), down(true).name()], ["member_down", "member_left"]);
        assert_eq!(Event::DescriptorsMissing.number(), Event::NAMES.len() - 1, "the last one");
        assert_eq!(Event::Leaving { sessions: 1 }.name(), "leaving");
        assert_eq!(Event::NotAlone.name(), "not_alone");
        assert_eq!(Event::HostCalm { late_ms: 1 }.name(), "host_calm");
    }

    #[test]
    fn what_an_operator_should_look_at_is_a_warning() {
        let name: Arc<str> = "a".into();
        assert_eq!(Event::MemberDown { name: name.clone(), planned: false }.level(), Level::WARN);
        assert_eq!(Event::MemberDown { name: name.clone(), planned: true }.level(), Level::INFO);
        assert_eq!(Event::Ready { sessions: 1, without: Vec::new() }.level(), Level::INFO);
        assert_eq!(Event::Ready { sessions: 1, without: vec!["b".into()] }.level(), Level::WARN);
        for cut_off in [false, true] {
            let alone = Event::Alone { cut_off, lasts: Duration::ZERO, tried: "a: nobody listens there".into() };
            assert_eq!(alone.level(), Level::WARN);
        }
        assert_eq!(Event::MembersMissing { members: 1, wanted: 2 }.level(), Level::WARN);
        assert!(Event::CertificateExpiring { left: Duration::ZERO }.to_string().contains("EXPIRED"));
    }
}
