//! The first words on a connection, from the side that opened it: who is there, and whether the two fit together.

use std::io;
use std::net::SocketAddr;

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, MAGIC, Message, Refused};
use sessionmesh_core::wire::version::{Version, Versions};

use super::frame::{self, FrameReader};
use crate::engine::state::node::Node;
use crate::network::ByteStream;
use crate::security::Refusal;
use crate::security::links::{Secured, explained, own_refusal};

/// The largest handshake message, in bytes.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 4096;

/// So many commit deadlines a handshake may take, on either side.
pub(crate) const HANDSHAKE_DEADLINES: u32 = 2;

/// Who is at the other end of a connection.
pub(crate) struct Greeted {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(super) counter: u64,
    /// What the two speak from now on.
    pub(super) version: Version,
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
        secured => secured.map_err(|error| counted(node, error))?,
    };
    // What is no TLS comes from somebody in between: the listener has answered in TLS before.
    let greeted = shake_hands(node, &mut secured.stream, expects).await;
    let greeted = greeted.map_err(|error| counted(node, explained(error, Refusal::NotProven)))?;
    Ok((secured, greeted))
}

/// Counts the error if this node refused what it had dialled. Whoever dialled logs it.
fn counted(node: &Node, error: io::Error) -> io::Error {
    if let Some(refusal) = own_refusal(&error) {
        node.ports.security.refusals.count(refusal);
    }
    error
}

async fn shake_hands(node: &Node, stream: &mut Box<dyn ByteStream>, expects: u64) -> io::Result<Greeted> {
    let addr = node.identity.advertise.to_string();
    let versions = node.identity.versions;
    let hello = Message::Hello(Hello {
        magic: MAGIC,
        version_min: versions.oldest(),
        version_max: versions.newest(),
        cluster: &node.config.cluster,
        name: &node.config.name,
        incarnation: node.identity.incarnation,
        addr: &addr,
        expects,
        counter: node.replication.lamport.now(),
    });
    frame::write(stream, &codec::encode_first(&hello).map_err(io::Error::other)?).await?;
    let mut reader = FrameReader::new(stream, HANDSHAKE_BYTES_MAX);
    let bytes = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    node.ports.security.refusals.decoding(bytes.len());
    match codec::decode_first(&bytes).map_err(io::Error::other)? {
        Message::Welcome(welcome) => {
            let (name, incarnation, counter) = (welcome.name.to_owned(), welcome.incarnation, welcome.counter);
            let version = versions.spoken(welcome.version).ok_or_else(|| chosen(welcome.version, versions))?;
            Ok(Greeted { name, incarnation, counter, version })
        }
        Message::Refused(why) => Err(refused(node, why)),
        _ => Err(io::Error::other("the other side broke the handshake")),
    }
}

fn chosen(version: u16, ours: Versions) -> io::Error {
    io::Error::other(format!("the other side chose version {version} of the protocol, and this node speaks {ours}"))
}

/// What a refusal means for this node; and the error for it.
pub(super) fn refused(node: &Node, why: Refused) -> io::Error {
    match why {
        Refused::Stale { known } => node.refused_as_stale(known),
        Refused::Version { .. } => node.ports.security.refusals.count(Refusal::OtherVersion),
        Refused::Cluster => {}
    }
    io::Error::other(RefusedBy { why, text: refusal(&node.config.cluster, node.identity.versions, why) })
}

/// What the other side answered, if it is a node that does not take this one's links.
pub(crate) fn refused_by(error: &io::Error) -> Option<&RefusedBy> {
    error.get_ref()?.downcast_ref()
}

/// Whether this is the answer of a node that speaks no version of this node's.
pub(crate) fn is_other_version(error: &io::Error) -> bool {
    refused_by(error).is_some_and(|refused| matches!(refused.why, Refused::Version { .. }))
}

/// The other side is a node and does not take this one's links, and why: nothing that trying again would change. The source
/// of such an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct RefusedBy {
    pub(crate) why: Refused,
    pub(super) text: String,
}

fn refusal(cluster: &str, ours: Versions, why: Refused) -> String {
    match why {
        Refused::Cluster => {
            format!("refused: a node of another cluster is at this address; this node's cluster is `{cluster}`")
        }
        Refused::Version { min, max } => {
            let theirs = Versions::new(min, max);
            format!("refused: it speaks version {theirs} of the protocol, this node {ours}; update the older side")
        }
        Refused::Stale { known } => format!("refused: a newer incarnation of this node's name is known ({known})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_learns_what_both_sides_speak() {
        let text = refusal("ours", Versions::new(7, 9), Refused::Version { min: 2, max: 3 });
        assert_eq!(text, "refused: it speaks version 2 to 3 of the protocol, this node 7 to 9; update the older side");
        assert!(
            chosen(6, Versions::new(7, 9))
                .to_string()
                .contains("version 6 of the protocol, and this node speaks 7 to 9")
        );
    }
}
