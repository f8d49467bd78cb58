//! Carries gossip over connections to where its datagrams do not arrive, or must not be sent since only connections are
//! protected (certificates without a secret).
//!
//! These are connections of their own: whoever asks this way may not be a member yet. Each is opened for the first message
//! and closed when none comes for a while.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Gossip, Message};
use sessionmesh_core::wire::version::Version;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::frame;
use super::handshake::ask_who_is_at;
use crate::engine::state::node::Node;
use crate::lock::lock;
use crate::membership::Carried;
use crate::security::links::Secured;

/// Addresses with a connection at one time. Gossip for others is lost, as datagrams are.
const ADDRESSES_MAX: usize = 256;
/// Messages that may wait for one connection.
const WAITING_MAX: usize = 8;
/// A connection that carried nothing for so long is closed. Shorter than others wait for the next message on one.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Between two attempts to reach an address. What was to be said meanwhile is lost.
const AGAIN: Duration = Duration::from_secs(1);
/// A connection that has carried so many messages is no accident of a node that was away for a moment.
const ACCIDENTS: u32 = 3;
/// How often it is said that datagrams do not pass.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// When it was said last that datagrams do not pass.
type Said = Arc<Mutex<Option<Instant>>>;

/// Carries what comes from `gossip` until the node stops.
pub(crate) async fn run(node: Arc<Node>, mut gossip: mpsc::Receiver<Carried>) {
    let said = Said::default();
    let mut ways: BTreeMap<SocketAddr, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
    let carrying = async {
        while let Some(Carried { addr, bytes }) = gossip.recv().await {
            ways.retain(|_, way| !way.is_closed());
            if !ways.contains_key(&addr) && ways.len() < ADDRESSES_MAX {
                let (way, messages) = mpsc::channel(WAITING_MAX);
                node.lifecycle.life.spawn("gossip_relay", carry(node.clone(), addr, messages, said.clone()));
                ways.insert(addr, way);
            }
            if let Some(way) = ways.get(&addr) {
                let _ = way.try_send(bytes);
            }
        }
    };
    node.lifecycle.stop.run_until_cancelled(carrying).await;
}

/// Carries `messages` to one address, until none comes for a while.
async fn carry(node: Arc<Node>, to: SocketAddr, mut messages: mpsc::Receiver<Vec<u8>>, said: Said) {
    let carrying = async {
        let mut connection = None;
        let mut carried = 0;
        while let Ok(Some(bytes)) = timeout(IDLE_MAX, messages.recv()).await {
            let sending = send(&node, to, connection.take(), &bytes);
            match timeout(node.config.commit_deadline, sending).await {
                Ok(Ok(open)) => {
                    connection = Some(open);
                    carried += 1;
                    if carried >= ACCIDENTS && node.ports.security.datagrams.is_in_use() {
                        say(to, &said);
                    }
                }
                failed => {
                    debug!(%to, error = ?failed.map(|sent| sent.err()), "gossip was not sent over TCP");
                    sleep(AGAIN).await;
                    while messages.try_recv().is_ok() {}
                }
            }
        }
    };
    node.lifecycle.stop.run_until_cancelled(carrying).await;
}

async fn send(
    node: &Node,
    to: SocketAddr,
    connection: Option<(Secured, Version)>,
    bytes: &[u8],
) -> io::Result<(Secured, Version)> {
    if let Some(mut open) = connection.filter(|(open, _)| !open.proof.is_void())
        && write(node, &mut open, bytes).await.is_ok()
    {
        return Ok(open);
    }
    // Whoever was there may have started again.
    let (secured, greeted) = ask_who_is_at(node, to).await?;
    let mut open = (secured, greeted.version);
    write(node, &mut open, bytes).await?;
    Ok(open)
}

async fn write(node: &Node, (secured, version): &mut (Secured, Version), bytes: &[u8]) -> io::Result<()> {
    let addr = node.identity.advertise.to_string();
    let message = codec::encode(&Message::Gossip(Gossip { addr: &addr, bytes }), *version).map_err(io::Error::other)?;
    frame::write(&mut secured.stream, &message).await
}

fn say(to: SocketAddr, said: &Said) {
    let mut said = lock(said);
    if said.is_none_or(|at| at.elapsed() >= SAID_AGAIN) {
        *said = Some(Instant::now());
        warn!(%to, "gossip goes over TCP, because no datagrams pass between the two nodes; is UDP blocked, or are \
            their addresses of different families (IPv4, IPv6)?");
    }
}
