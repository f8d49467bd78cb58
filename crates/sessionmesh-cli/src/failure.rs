//! How a command can end.

/// Why a command ends with another exit code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for did not come about; the message is none if it has been printed.
    Failed(Option<String>),
    /// It was not even tried: usage or configuration is wrong.
    Refused(String),
    /// The node stopped by itself, because a part of it had failed.
    Died(String),
    /// The node stopped as it was told to, and there was nobody to take its sessions.
    NobodyStayed(String),
}
