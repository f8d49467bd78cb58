//! How many files and sockets this process may have open.

/// Allows this process as many as the system lets it, and says how many that are; none: as many as it likes, or unknown.
#[cfg(unix)]
pub(crate) fn allow_all() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        // Some systems have a further limit, which is not told.
        tracing::info!(%error, "could not raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
pub(crate) fn allow_all() -> Option<u64> {
    None
}
