//! Why a record could not be kept.

use crate::error::{CommitError, CreateError, LoadError, ValueError};

/// Why a record could not be saved, created or deleted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not known whether the session exists. Answer 503, and let the client come again.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No session can be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A limit would be exceeded, or this node has left the cluster.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A value could not be read again.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The store no longer knows what an earlier save of this record wrote, so it cannot tell what the record has
    /// removed since.
    #[error("the record was saved too long ago to tell what it has removed since; nothing was changed, load it again")]
    TooOld,
}
