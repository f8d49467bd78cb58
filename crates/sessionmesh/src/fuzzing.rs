//! What fuzz targets need of the inside: each decoder of bytes from outside, with the way back where there is one. Ordinary
//! builds have nothing of it.

use std::io;
use std::path::Path;

use futures::FutureExt as _;
use tokio::io::AsyncRead;

use crate::engine::link::frame::{self, FrameReader};
use crate::network::ByteStream;
use crate::security::datagram_seal::DatagramSeal;
use crate::security::key_ring::KeyRing;
use crate::security::links::{self, Links};
use crate::security::secret::{self, Secret, SecretError};
use crate::security::secret_file::{self, SecretFileError};

pub use crate::membership::beacon_fuzzing::{ReadBeacon, beacon, beacon_of};
pub use crate::membership::gossip_fuzzing::{Introduced, Parts, gossip_guard, incarnation_bytes};
pub use crate::record_store::fuzzing::{is_base, written_unchanged};
pub use crate::security::datagrams::fuzzing::{Forged, Keys, OpenedDatagram, SealedNode};

/// The largest frame, in bytes of payload.
pub const FRAME_BYTES_MAX: usize = frame::FRAME_BYTES_MAX;

/// The messages on a stream that never makes its reader wait, up to its end or the first that is refused; and whether its end
/// was that of a message. `None` if the reader waits nevertheless.
pub fn messages_in(stream: impl AsyncRead + Unpin, limit: usize) -> Option<(Vec<Vec<u8>>, bool)> {
    let mut reader = FrameReader::new(stream, limit);
    let mut messages = Vec::new();
    loop {
        match reader.next().now_or_never()? {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return Some((messages, true)),
            Err(_) => return Some((messages, false)),
        }
    }
}

/// The frames of a message.
#[must_use]
pub fn frames_of(message: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    frame::append(&mut frames, message);
    frames
}

/// How the connections of a node are protected.
#[derive(Debug)]
pub struct Door(Links);

impl Door {
    /// With these secrets, or without. `plain_too`: beside nodes that have none.
    #[must_use]
    pub fn new(secrets: &[Secret], plain_too: bool) -> Self {
        Self(KeyRing::new(secrets, "shop").map_or(Links::in_clear(), |ring| Links::with_keys(&ring, plain_too)))
    }

    /// What becomes of a connection that was accepted. `None` if it waits for more than it gets.
    pub fn accept(&self, stream: Box<dyn ByteStream>) -> Option<io::Result<Box<dyn ByteStream>>> {
        let accepted = self.0.accept(stream).now_or_never()?;
        Some(accepted.map(|secured| secured.stream))
    }

    /// What becomes of a connection that was dialled.
    pub fn dial(&self, stream: Box<dyn ByteStream>) -> Option<io::Result<Box<dyn ByteStream>>> {
        let dialled = self.0.dial(stream, false).now_or_never()?;
        Some(dialled.map(|secured| secured.stream))
    }

    /// Meets another one, over a connection that records what each side says.
    ///
    /// # Errors
    ///
    /// They have no secret in common.
    pub async fn meet(
        &self,
        dialled: Box<dyn ByteStream>,
        listener: &Self,
        accepted: Box<dyn ByteStream>,
    ) -> io::Result<()> {
        let (dialled, accepted) = futures::join!(self.0.dial(dialled, false), listener.0.accept(accepted));
        dialled.and(accepted).map(drop)
    }
}

/// The reason by which an error is counted, if the security refused a connection.
#[must_use]
pub fn refusal(error: &io::Error) -> Option<String> {
    links::refusal(error).map(|refusal| refusal.to_string())
}

/// What a node takes out of a datagram: gossip, or a beacon of the group. It has these secrets; `plain`: it also, or only, takes
/// datagrams in clear.
#[derive(Debug)]
pub struct Ear(DatagramSeal);

impl Ear {
    /// In the cluster `shop`.
    #[must_use]
    pub fn new(secrets: &[Secret], plain_too: bool) -> Self {
        let ring = KeyRing::new(secrets, "shop");
        let plain = plain_too || ring.is_none();
        Self(DatagramSeal::new("shop", ring, plain, std::sync::Arc::default()))
    }

    /// Its payload by unicast, how many bytes are sent because of it, and its payload as a beacon.
    #[must_use]
    pub fn hears(&self, datagram: &[u8]) -> (Option<Vec<u8>>, usize, Option<Vec<u8>>) {
        let opened = self.0.open(datagram, ([10, 0, 0, 9], 7700).into());
        let sent = opened.send.iter().map(|(bytes, _)| bytes.len()).sum();
        let beacon = self.0.open_beacon(datagram).ok().flatten();
        (opened.payload, sent, beacon.map(|beacon| beacon.payload))
    }

    /// A beacon of this node, in each form in which it is sent.
    #[must_use]
    pub fn says(&self, payload: &[u8]) -> Vec<Vec<u8>> {
        self.0.seal_beacon(payload)
    }
}

/// The secrets in the text of a file.
///
/// # Errors
///
/// One of them is none, or there are too many.
pub fn secrets_in(text: &str) -> Result<Vec<Secret>, SecretError> {
    secret::read_lines(text)
}

/// The secrets in a file.
///
/// # Errors
///
/// There are none, or the file cannot be used.
pub fn secrets_in_file(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    secret_file::read(path)
}

/// Whether JSON text is nested no deeper than can be read again.
#[must_use]
pub fn is_shallow(json: &[u8]) -> bool {
    crate::json::check_depth("key", json).is_ok()
}
