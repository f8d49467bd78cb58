//! The first words on a connection, from the side that accepted it: who dialled, and whether the two fit together.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sessionmesh_core::id::NodeHash;
use sessionmesh_core::session::DIGEST_VERSION;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, MAGIC, Message, Refused, VERSION_MAX, VERSION_MIN, Welcome};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::frame::{self, FrameReader};
use super::handshake::{HANDSHAKE_BYTES_MAX, HANDSHAKE_DEADLINES};
use crate::engine::state::node::Node;
use crate::lock::lock;
use crate::network::ByteStream;
use crate::security::Refusal;
use crate::security::links::{Secured, refusal as security_refusal};

/// Who dialled.
pub(crate) struct Dialler {
    pub(crate) node: NodeHash,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    /// Where the connection comes from.
    pub(crate) ip: IpAddr,
}

/// Shakes hands, within some commit deadlines.
pub(crate) async fn greet(node: &Node, stream: Box<dyn ByteStream>, ip: IpAddr) -> Option<(Secured, Dialler)> {
    let greet = async {
        let mut secured = node.ports.security.links.accept(stream).await?;
        let from = welcome(node, &mut secured.stream, ip).await?;
        io::Result::Ok((secured, from))
    };
    let greeted = timeout(node.config.commit_deadline * HANDSHAKE_DEADLINES, greet).await;
    match greeted.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, Refusal::TooSlow))) {
        Ok(greeted) => Some(greeted),
        Err(error) => {
            debug!(%error, "an incoming connection ended before the handshake was complete");
            if let Some(refusal) = security_refusal(&error) {
                node.refused(refusal, ip, &error);
            }
            None
        }
    }
}

/// Answers the handshake: a welcome, or why not.
async fn welcome(node: &Node, stream: &mut Box<dyn ByteStream>, ip: IpAddr) -> io::Result<Dialler> {
    let bytes = {
        let mut reader = FrameReader::new(&mut *stream, HANDSHAKE_BYTES_MAX);
        reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?
    };
    node.ports.security.refusals.decoding(bytes.len());
    let Message::Hello(hello) = codec::decode(&bytes).map_err(io::Error::other)? else {
        return Err(io::Error::other("the first message was no hello"));
    };
    if hello.magic != MAGIC {
        return Err(io::Error::other("not this protocol"));
    }
    if let Some(why) = refuse(node, &hello) {
        let answer = codec::encode(&Message::Refused(why)).map_err(io::Error::other)?;
        frame::write(stream, &answer).await?;
        return Err(refused(node, &refusal(&node.config.cluster, &hello, why)));
    }
    node.replication.lamport.observe(hello.counter);
    let welcome = Message::Welcome(Welcome {
        version: hello.version_max.min(VERSION_MAX),
        name: &node.config.name,
        incarnation: node.identity.incarnation,
        counter: node.replication.lamport.now(),
    });
    frame::write(stream, &codec::encode(&welcome).map_err(io::Error::other)?).await?;
    let from = NodeHash::of(hello.name, hello.incarnation);
    if hello.expects != 0
        && node.cluster.topology.load().peer(from).is_none()
        && let Some(addr) = reachable(node, hello.addr, ip)
    {
        // If there is no room gossip will tell of it.
        let _ = node.cluster.strangers.try_send(addr);
    }
    Ok(Dialler { node: from, name: hello.name.to_owned(), incarnation: hello.incarnation, ip })
}

/// The address that a dialler from `ip` says it has, unless it is on another machine and says a loopback address: that
/// would be this machine's.
pub(crate) fn reachable(node: &Node, addr: &str, ip: IpAddr) -> Option<SocketAddr> {
    let addr: SocketAddr = addr.parse().ok()?;
    let ip = ip.to_canonical();
    let here = ip.is_loopback() || ip == node.identity.advertise.ip().to_canonical();
    (here || !addr.ip().to_canonical().is_loopback()).then_some(addr)
}

fn refuse(node: &Node, hello: &Hello<'_>) -> Option<Refused> {
    if hello.cluster != node.config.cluster {
        return Some(Refused::Cluster);
    }
    if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
        return Some(Refused::Version { min: VERSION_MIN, max: VERSION_MAX });
    }
    if hello.digest_version != DIGEST_VERSION {
        return Some(Refused::Digest { version: DIGEST_VERSION });
    }
    // Who only asks who is there takes no part.
    let later = later_life(node, hello.name, hello.incarnation).filter(|_| hello.expects != 0)?;
    Some(Refused::Stale { known: later })
}

/// What was refused, with what both sides say.
fn refusal(cluster: &str, hello: &Hello<'_>, why: Refused) -> String {
    let name = hello.name;
    match why {
        Refused::Cluster => {
            format!("refused `{name}`, a node of cluster `{}`; this node's cluster is `{cluster}`", hello.cluster)
        }
        Refused::Version { min, max } => format!(
            "refused `{name}`: it speaks protocol versions {} to {}, this node {min} to {max}; update the older side",
            hello.version_min, hello.version_max
        ),
        Refused::Digest { version } => format!(
            "refused `{name}`: its digest version is {}, this node's is {version}; update the older side",
            hello.digest_version
        ),
        Refused::Stale { known } => {
            format!("refused incarnation {} of `{name}`: incarnation {known} is newer", hello.incarnation)
        }
    }
}

/// Whoever is refused comes again and again, and anybody can ask to be: the log says so now and then only.
fn refused(node: &Node, why: &str) -> io::Error {
    if let Some(unsaid) = lock(&node.bounds.refusals).admit() {
        warn!(unsaid, "{why}");
    }
    io::Error::other(why.to_owned())
}

/// The later life of this name that this node sees, if it sees one.
pub(crate) fn later_life(node: &Node, name: &str, incarnation: u64) -> Option<u64> {
    let seen = node.cluster.topology.load().view.get(name)?.incarnation;
    (seen > incarnation).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_both_sides_say() {
        let hello = Hello {
            magic: MAGIC,
            version_min: 7,
            version_max: 9,
            digest_version: 5,
            cluster: "theirs",
            name: "n1",
            incarnation: 3,
            addr: "127.0.0.1:1",
            expects: 1,
            counter: 0,
        };
        let says = |why, words: &[&str]| {
            let text = refusal("ours", &hello, why);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        says(Refused::Cluster, &["`n1`", "`theirs`", "`ours`"]);
        says(Refused::Version { min: 2, max: 3 }, &["`n1`", "7 to 9", "2 to 3", "update the older side"]);
        says(Refused::Digest { version: 2 }, &["`n1`", "5", "2", "update the older side"]);
        says(Refused::Stale { known: 4 }, &["`n1`", "3", "4"]);
    }
}
