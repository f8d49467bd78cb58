//! The one line that a node prints when it is ready: for people, and for the demo that waits for it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Who is ready, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadyLine {
    /// The node's name.
    pub(crate) name: String,
    /// Where visitors reach it.
    pub(crate) http: SocketAddr,
    /// Where other nodes reach it.
    pub(crate) replication: SocketAddr,
    /// Where operators reach it, if they do.
    pub(crate) admin: Option<SocketAddr>,
}

const IS_READY: &str = " is ready: http://";
const REPLICATION: &str = ", replication ";
const ADMIN: &str = ", admin http://";

impl fmt::Display for ReadyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{IS_READY}{}{REPLICATION}{}", self.name, self.http, self.replication)?;
        self.admin.map_or(Ok(()), |admin| write!(f, "{ADMIN}{admin}"))
    }
}

/// The text is something else.
#[derive(Debug)]
pub(crate) struct NotReady;

impl FromStr for ReadyLine {
    type Err = NotReady;

    fn from_str(text: &str) -> Result<Self, NotReady> {
        let (name, addresses) = text.trim_end().split_once(IS_READY).ok_or(NotReady)?;
        let (http, replication) = addresses.split_once(REPLICATION).ok_or(NotReady)?;
        let address = |text: &str| text.parse().map_err(|_| NotReady);
        let (replication, admin) = match replication.split_once(ADMIN) {
            Some((replication, admin)) => (replication, Some(address(admin)?)),
            None => (replication, None),
        };
        Ok(Self { name: name.to_owned(), http: address(http)?, replication: address(replication)?, admin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let line = ReadyLine {
            name: "web-1".to_owned(),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            replication: "[::1]:7700".parse().unwrap(),
            admin: None,
        };
        let text = line.to_string();
        assert_eq!(text, "web-1 is ready: http://127.0.0.1:8080, replication [::1]:7700");
        assert_eq!(text.parse::<ReadyLine>().unwrap(), line);
        let line = ReadyLine { admin: Some("127.0.0.1:7777".parse().unwrap()), ..line };
        assert!(line.to_string().ends_with("7700, admin http://127.0.0.1:7777"));
        assert_eq!(line.to_string().parse::<ReadyLine>().unwrap(), line);
        assert!("web-1 is ready: http://127.0.0.1:8080".parse::<ReadyLine>().is_err());
    }
}
