//! Spans of `tracing`, with fields named as OpenTelemetry's conventions have them.

use sessionmesh_core::id::SessionId;
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span, debug_span, enabled};

use crate::error::{CommitError, LeaveError, LoadError};
use crate::session::Session;

/// The value of `error.type`: one of few words.
pub(crate) trait ErrorType {
    /// It.
    fn error_type(&self) -> &'static str;
}

/// Whether anybody wants spans.
pub(crate) fn are_wanted() -> bool {
    enabled!(Level::DEBUG)
}

/// Of a commit of this session, whose id is shown as a short hash.
pub(crate) fn commit(session: &Session) -> Span {
    debug_span!("commit", "otel.kind" = "internal", "session.id" = %session.id(), "error.type" = Empty, "otel.status_code" = Empty)
}

/// Of a read of this session that asks other nodes.
pub(crate) fn load(id: SessionId) -> Span {
    debug_span!("load", "otel.kind" = "client", "session.id" = %id, "error.type" = Empty, "otel.status_code" = Empty)
}

/// From joining to ready.
pub(crate) fn join(node: &str) -> Span {
    debug_span!("join", "otel.kind" = "internal", "service.instance.id" = node)
}

/// Looking, after a change of the view, for what other owners may lack.
pub(crate) fn handover(node: &str, members: usize) -> Span {
    debug_span!("handover", "otel.kind" = "internal", "service.instance.id" = node, members)
}

/// Of a node that leaves.
pub(crate) fn leave(node: &str) -> Span {
    debug_span!(
        "leave",
        "otel.kind" = "internal",
        "service.instance.id" = node,
        "error.type" = Empty,
        "otel.status_code" = Empty
    )
}

/// Does `work` in `span`, and notes there how it failed, if it did.
pub(crate) async fn within<T, E: ErrorType>(span: Span, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let noting = async {
        let done = work.await;
        if let Err(error) = &done {
            Span::current().record("error.type", error.error_type()).record("otel.status_code", "ERROR");
        }
        done
    };
    noting.instrument(span).await
}

impl ErrorType for CommitError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::CannotTell(_) => "cannot_tell",
            Self::Unknown => "unknown",
            Self::Left => "left",
            Self::Limit(_) => "limit",
            Self::TimedOut { .. } => "timed_out",
            Self::NoOtherNode => "no_other_node",
            Self::TooFewCopies { .. } => "too_few_copies",
            Self::Value(_) => "value",
        }
    }
}

impl ErrorType for LoadError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::CannotTell { .. } => "cannot_tell",
        }
    }
}

impl ErrorType for LeaveError {
    fn error_type(&self) -> &'static str {
        "not_handed_over"
    }
}
