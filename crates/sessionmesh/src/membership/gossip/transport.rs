//! Carries gossip over [`Datagrams`], sealed, and lets nothing from outside end it.

use std::net::SocketAddr;
use std::panic;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{Chitchat, ChitchatId, ChitchatMessage, Deserializable, Serializable};
use tokio::sync::Mutex;

use super::bounds;
use crate::membership::DatagramSeal;
use crate::network::Datagrams;

/// Incarnations known at one time, dead ones of the last minutes included. Their digest must fit a datagram: 512 of them
/// take at most 60 KB.
const INCARNATIONS_MAX: usize = 512;

/// The largest datagram, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Pause after a failed receive, so that a broken socket does not keep a core busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);

/// Gives every gossip server the same socket, so that a server can be replaced without the port being free in between.
#[derive(Debug, Clone)]
pub(super) struct SealedTransport {
    pub(super) socket: Arc<dyn Datagrams>,
    pub(super) seal: Arc<dyn DatagramSeal>,
    pub(super) cluster: Arc<str>,
}

/// Lets a socket see the state of the server it serves. Set once the server exists.
pub(super) type ServerState = Arc<OnceLock<Arc<Mutex<Chitchat>>>>;

/// [`SealedTransport`] for one server.
pub(super) struct ServerTransport {
    pub(super) shared: SealedTransport,
    pub(super) state: ServerState,
}

#[async_trait]
impl Transport for ServerTransport {
    async fn open(&self, _at: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(SealedSocket {
            shared: self.shared.clone(),
            state: Arc::clone(&self.state),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            told_full: false,
        }))
    }
}

struct SealedSocket {
    shared: SealedTransport,
    state: ServerState,
    buffer: Vec<u8>,
    /// Whether the log already says that there are too many members.
    told_full: bool,
}

#[async_trait]
impl Socket for SealedSocket {
    /// Never fails: gossip survives lost datagrams, but its server ends at an error.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let sealed = self.shared.seal.seal(&message.serialize_to_vec());
        if let Err(error) = self.shared.socket.send_to(&sealed, to).await {
            tracing::debug!(%to, bytes = sealed.len(), %error, "gossip not sent");
        }
        Ok(())
    }

    /// Never fails, for the same reason. When cancelled, at most one datagram is lost.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.shared.socket.recv_from(&mut self.buffer).await {
                Ok((length, from)) => {
                    if let Some(message) = self.opened(length).await {
                        return Ok((from, message));
                    }
                    tracing::trace!(%from, length, "datagram dropped");
                }
                Err(error) => {
                    tracing::debug!(%error, "gossip not received");
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                }
            }
        }
    }
}

impl SealedSocket {
    /// The message in the first `length` bytes of the buffer, unless it is not for us or too much.
    async fn opened(&mut self, length: usize) -> Option<ChitchatMessage> {
        let plain = self.shared.seal.open(self.buffer.get(..length)?)?;
        let introduced = bounds::introduced(&plain)?;
        // No panic is known in here, but the decoder is not ours and its input comes from outside.
        let decoded = panic::catch_unwind(|| ChitchatMessage::deserialize(&mut &plain[..]));
        let message = decoded.ok()?.ok()?;
        if let ChitchatMessage::Syn { cluster_id, .. } = &message
            && **cluster_id != *self.shared.cluster
        {
            return None;
        }
        self.room_for(&introduced).await.then_some(message)
    }

    async fn room_for(&mut self, introduced: &[ChitchatId]) -> bool {
        let Some(state) = self.state.get() else { return true };
        let state = state.lock().await;
        let known = state.node_states();
        let unknown = introduced.iter().filter(|id| !known.contains_key(id)).count();
        let fits = unknown == 0 || known.len() + unknown <= INCARNATIONS_MAX;
        if !fits && !self.told_full {
            self.told_full = true;
            tracing::warn!(
                known = known.len(),
                INCARNATIONS_MAX,
                "too many members: gossip about more of them is dropped"
            );
        }
        fits
    }
}
