//! What requests do, and how many at a time.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::load::Requests;
use super::request::request;
use super::system::System;

/// Sessions that are read and written, made beforehand.
pub(crate) const SESSIONS: usize = 1_000;
/// Bytes of the attribute, where nothing else is said.
pub(crate) const BYTES: usize = 256;
/// Numbers of connections, each with one request at a time.
pub(crate) const CONNECTIONS: [u16; 2] = [16, 64];
/// Numbers of connections where it matters whether a visitor is alone, who waits for each answer, or there are some at a time.
pub(crate) const ALONE_OR_NOT: [u16; 2] = [1, CONNECTIONS[0]];

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reads the attribute of a session.
    Read,
    /// Writes the attribute of a session.
    Write,
    /// Makes a session.
    New,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) connections: u16,
    pub(crate) operation: Operation,
    /// Bytes of the attribute that is written.
    pub(crate) bytes: usize,
}

impl Workload {
    pub(crate) const READ: Self = Self { connections: CONNECTIONS[0], operation: Operation::Read, bytes: BYTES };
    pub(crate) const WRITE: Self = Self { operation: Operation::Write, ..Self::READ };
    pub(crate) const NEW: Self = Self { operation: Operation::New, ..Self::READ };
    const LARGE_WRITE: Self = Self { bytes: 4_096, ..Self::WRITE };

    /// Large writes come last, so that reads are of small values. The next round begins with a small write.
    pub(crate) const ALL: [Self; 7] = [
        Self::WRITE,
        Self::READ,
        Self::NEW,
        Self { connections: CONNECTIONS[1], ..Self::WRITE },
        Self { connections: CONNECTIONS[1], ..Self::READ },
        Self { connections: CONNECTIONS[1], ..Self::NEW },
        Self::LARGE_WRITE,
    ];

    /// What it does, for tables and figures.
    pub(crate) const fn what(&self) -> &'static str {
        match self.operation {
            Operation::Read => "read",
            Operation::Write if self.bytes == BYTES => "write",
            Operation::Write => "write-4096",
            Operation::New => "new",
        }
    }

    /// The name of what is measured of `system` with it.
    pub(crate) fn figure(&self, system: &System, what: &str) -> String {
        format!("http/{}/{}/{}/{what}", self.connections, self.what(), system.name)
    }

    /// Its requests for sessions with these cookies; without cookies, where there are no sessions.
    pub(crate) fn requests(&self, cookies: &[String]) -> Requests {
        let path = match self.operation {
            Operation::Read => "/read".to_owned(),
            Operation::Write => format!("/write?n={}", self.bytes),
            Operation::New => format!("/new?n={}", self.bytes),
        };
        if self.operation == Operation::New || cookies.is_empty() {
            return Requests(vec![request(&path, None)]);
        }
        let mut rng = StdRng::seed_from_u64(2);
        let drawn = (0..SESSIONS * 4).filter_map(|_| cookies.choose(&mut rng));
        Requests(drawn.map(|cookie| request(&path, Some(cookie))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_tell_workloads_apart() {
        let names: BTreeSet<_> = Workload::ALL.iter().map(|workload| workload.figure(&System::BARE, "rate")).collect();
        assert_eq!(names.len(), Workload::ALL.len());
        assert!(names.contains("http/16/write/bare/rate"), "{names:?}");
    }

    #[test]
    fn only_sessions_that_exist_are_asked_for() {
        let cookies = ["id=1".to_owned(), "id=2".to_owned()];
        let reads = Workload::READ.requests(&cookies).0;
        for cookie in cookies.iter().map(String::as_str) {
            assert!(reads.contains(&request("/read", Some(cookie))), "{cookie} is never read");
        }
        assert_eq!(Workload::NEW.requests(&cookies).0, [b"GET /new?n=256 HTTP/1.1\r\nHost: bench\r\n\r\n"]);
    }
}
