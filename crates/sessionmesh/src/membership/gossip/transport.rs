//! Carries gossip over [`Datagrams`], sealed, and lets nothing from outside end it.

use std::io;
use std::iter;
use std::net::SocketAddr;
use std::panic::{self, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{Chitchat, ChitchatId, ChitchatMessage, Deserializable, Serializable};
use tokio::sync::{Mutex, mpsc};

use super::bounds;
use super::detour::{Carried, Detours};
use super::fragments::{self, Assembly};
use crate::network::Datagrams;
use crate::security::Security;

/// The largest datagram that is received, and the largest message that a connection carries, in bytes.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Pause after a failed receive, so that a broken socket does not keep a core busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);

/// Gives every gossip server the same socket, so that a server can be replaced without the port being free in between.
#[derive(Debug, Clone)]
pub(super) struct SealedTransport {
    pub(super) socket: Arc<dyn Datagrams>,
    pub(super) security: Arc<Security>,
    pub(super) cluster: Arc<str>,
    /// For connections to carry.
    pub(super) carry: mpsc::Sender<Carried>,
    /// What connections have carried here. One server reads it at a time.
    pub(super) arrived: Arc<Mutex<mpsc::Receiver<Carried>>>,
    /// The number of the next message.
    pub(super) number: Arc<AtomicU64>,
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
            buffer: vec![0; MESSAGE_BYTES_MAX],
            told_full: false,
            assembly: Assembly::default(),
            detours: Detours::default(),
            asked_over_connection: None,
        }))
    }
}

struct SealedSocket {
    shared: SealedTransport,
    state: ServerState,
    buffer: Vec<u8>,
    /// Whether the log already says that there are too many members.
    told_full: bool,
    assembly: Assembly,
    detours: Detours,
    /// Who sent the message that was received last, if a connection carried it: the server answers before it receives
    /// another one.
    asked_over_connection: Option<SocketAddr>,
}

#[async_trait]
impl Socket for SealedSocket {
    /// Never fails: gossip survives lost datagrams, but its server ends at an error.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let bytes = message.serialize_to_vec();
        if !self.shared.security.datagrams.is_in_use() {
            self.carry(to, bytes);
            return Ok(());
        }
        if self.asked_over_connection.take_if(|asker| *asker == to).is_some() {
            self.carry(to, bytes);
            return Ok(());
        }
        if matches!(message, ChitchatMessage::Syn { .. }) && self.detours.asked(to) {
            self.carry(to, bytes.clone());
        }
        for datagram in fragments::cut(bytes, self.shared.number.fetch_add(1, Ordering::Relaxed)) {
            for sealed in self.shared.security.datagrams.seal(&datagram, to) {
                self.send_datagram(&sealed, to).await;
            }
        }
        Ok(())
    }

    /// Never fails, for the same reason. When cancelled, at most one datagram is lost.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.asked_over_connection = None;
        loop {
            let received = {
                let mut arrived = self.shared.arrived.lock().await;
                tokio::select! {
                    biased;
                    received = self.shared.socket.recv_from(&mut self.buffer) => Received::Datagram(received),
                    Some(message) = arrived.recv() => Received::Carried(message),
                }
            };
            let (from, bytes, is_carried) = match received {
                Received::Carried(Carried { addr, bytes }) => (addr, Some(bytes), true),
                Received::Datagram(Ok((length, from))) => (from, self.opened(from, length).await, false),
                Received::Datagram(Err(error)) => {
                    tracing::debug!(%error, "gossip not received");
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                    continue;
                }
            };
            let message = match bytes {
                Some(bytes) => self.decoded(&bytes).await,
                None => None,
            };
            if let Some(message) = message {
                self.asked_over_connection = is_carried.then_some(from);
                return Ok((from, message));
            }
            tracing::trace!(%from, "gossip dropped, or not complete");
        }
    }
}

enum Received {
    Carried(Carried),
    Datagram(io::Result<(usize, SocketAddr)>),
}

impl SealedSocket {
    /// Hands a message to a connection. If there are too many, it is lost as a datagram may be.
    fn carry(&self, addr: SocketAddr, bytes: Vec<u8>) {
        let _ = self.shared.carry.try_send(Carried { addr, bytes });
    }

    /// The message in the first `length` bytes of the buffer, or the one of which they were the last missing part, unless
    /// it is not for us.
    async fn opened(&mut self, from: SocketAddr, length: usize) -> Option<Vec<u8>> {
        let opened = self.shared.security.datagrams.open(self.buffer.get(..length)?, from);
        for (datagram, to) in opened.send {
            self.send_datagram(&datagram, to).await;
        }
        let plain = opened.payload?;
        self.detours.heard(from);
        self.assembly.take(from, plain)
    }

    async fn send_datagram(&self, sealed: &[u8], to: SocketAddr) {
        if let Err(error) = self.shared.socket.send_to(sealed, to).await {
            tracing::debug!(%to, bytes = sealed.len(), %error, "gossip not sent");
        }
    }

    /// What the bytes say, unless it is too much.
    async fn decoded(&mut self, bytes: &[u8]) -> Option<ChitchatMessage> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        self.shared.security.refusals.decoding(bytes.len());
        let introduced = bounds::introduced(bytes)?;
        let message = unless_it_panics(|| ChitchatMessage::deserialize(&mut &*bytes))?.ok()?;
        if let ChitchatMessage::Syn { cluster_id, .. } = &message
            && **cluster_id != *self.shared.cluster
        {
            return None;
        }
        self.room_for(&introduced).await.then_some(message)
    }

    async fn room_for(&mut self, introduced: &[ChitchatId]) -> bool {
        let Some(state) = self.state.get() else {
            // A message that came before the server was in place, which knows nobody then.
            return bounds::fits(|_| false, iter::empty(), introduced);
        };
        let state = state.lock().await;
        let known = state.node_states();
        let fits = bounds::fits(|id| known.contains_key(id), known.keys(), introduced);
        if !fits && !self.told_full {
            self.told_full = true;
            tracing::warn!(
                known = known.len(),
                "too many members, or too many incarnations of some; gossip about more is dropped"
            );
        }
        fits
    }
}

/// What `decode` gives. No panic is known in the library's decoder, but it is not ours and its input comes from outside; one
/// costs the message, and not the server.
fn unless_it_panics<T>(decode: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    panic::catch_unwind(decode).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_costs_the_message() {
        assert_eq!(unless_it_panics(|| 7), Some(7));
        assert_eq!(unless_it_panics(|| -> u8 { panic!("on purpose") }), None);
    }
}
