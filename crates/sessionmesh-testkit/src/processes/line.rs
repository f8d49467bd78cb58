//! A connection to a node process.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::control::Request;

/// How long an answer may take: a large batch in a debug build takes some seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to a node process. Requests are answered in their order.
#[derive(Debug)]
pub struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    /// Connects to the socket at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(path)?) })
    }

    /// Puts a request into the socket.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    ///
    /// The process is gone, or there is no answer within `deadline`.
    pub fn receive<T: DeserializeOwned>(&mut self, deadline: Duration) -> io::Result<T> {
        self.stream.get_ref().set_read_timeout(Some(deadline))?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Whether an answer has come already.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn has_answer(&mut self) -> io::Result<bool> {
        self.stream.get_ref().set_nonblocking(true)?;
        let filled = self.stream.fill_buf().map(|bytes| !bytes.is_empty());
        self.stream.get_ref().set_nonblocking(false)?;
        match filled {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Ok(false) => Err(io::ErrorKind::UnexpectedEof.into()),
            filled => filled,
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// The process is gone, or hangs.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> io::Result<T> {
        self.send(request)?;
        self.receive(ANSWER)
    }
}
