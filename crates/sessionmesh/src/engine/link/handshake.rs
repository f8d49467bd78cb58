//! The first words on a connection, from the side that opened it: who is there, and whether the two fit together.

use std::io;
use std::net::SocketAddr;

use sessionmesh_core::session::DIGEST_VERSION;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, MAGIC, Message, Refused, VERSION_MAX, VERSION_MIN};

use super::frame::{self, FrameReader};
use crate::engine::state::node::Node;
use crate::network::ByteStream;
use crate::security::links::{Secured, explained};

/// The largest handshake message, in bytes.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 4096;

/// So many commit deadlines a handshake may take, on either side.
pub(crate) const HANDSHAKE_DEADLINES: u32 = 2;

/// Who is at the other end of a connection.
pub(crate) struct Greeted {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(super) counter: u64,
}

/// Connects to `addr` and only asks who is there.
pub(crate) async fn ask_who_is_at(node: &Node, addr: SocketAddr) -> io::Result<(Secured, Greeted)> {
    dial(node, || node.ports.network.connect(addr), 0).await
}

/// Opens a connection, has it secured, says hello and waits for the welcome. `expects` is the incarnation that is looked for; 0
/// only asks who is there.
pub(super) async fn dial<C>(node: &Node, connect: impl Fn() -> C, expects: u64) -> io::Result<(Secured, Greeted)>
where
    C: Future<Output = io::Result<Box<dyn ByteStream>>>,
{
    let links = &node.ports.security.links;
    let mut secured = match links.dial(connect().await?, false).await {
        // It may be a node that has no secret yet.
        Err(_) if links.dials_plain_too() => links.dial(connect().await?, true).await?,
        secured => secured?,
    };
    let greeted = shake_hands(node, &mut secured.stream, expects).await.map_err(explained)?;
    Ok((secured, greeted))
}

async fn shake_hands(node: &Node, stream: &mut Box<dyn ByteStream>, expects: u64) -> io::Result<Greeted> {
    let addr = node.identity.advertise.to_string();
    let hello = Message::Hello(Hello {
        magic: MAGIC,
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        digest_version: DIGEST_VERSION,
        cluster: &node.config.cluster,
        name: &node.config.name,
        incarnation: node.identity.incarnation,
        addr: &addr,
        expects,
        counter: node.replication.lamport.now(),
    });
    frame::write(stream, &codec::encode(&hello).map_err(io::Error::other)?).await?;
    let mut reader = FrameReader::new(stream, HANDSHAKE_BYTES_MAX);
    let bytes = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    node.ports.security.refusals.decoding(bytes.len());
    match codec::decode(&bytes).map_err(io::Error::other)? {
        Message::Welcome(welcome) => {
            let (name, incarnation, counter) = (welcome.name.to_owned(), welcome.incarnation, welcome.counter);
            Ok(Greeted { name, incarnation, counter })
        }
        Message::Refused(why) => Err(refused(node, why)),
        _ => Err(io::Error::other("the other side broke the handshake")),
    }
}

/// What a refusal means for this node; and the error for it.
pub(super) fn refused(node: &Node, why: Refused) -> io::Error {
    if let Refused::Stale { known } = why {
        node.refused_as_stale(known);
    }
    io::Error::other(RefusedBy { why, text: refusal(&node.config.cluster, why) })
}

/// The other side is a node and does not take this one's links, and why: nothing that trying again would change. The source
/// of such an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct RefusedBy {
    pub(crate) why: Refused,
    pub(super) text: String,
}

fn refusal(cluster: &str, why: Refused) -> String {
    match why {
        Refused::Cluster => {
            format!("refused: a node of another cluster is at this address; this node's cluster is `{cluster}`")
        }
        Refused::Version { min, max } => format!(
            "refused: it speaks protocol versions {min} to {max}, this node {VERSION_MIN} to {VERSION_MAX}; \
             update the older side"
        ),
        Refused::Digest { version } => {
            format!("refused: its digest version is {version}, this node's is {DIGEST_VERSION}; update the older side")
        }
        Refused::Stale { known } => format!("refused: a newer incarnation of this node's name is known ({known})"),
    }
}
