//! The first words on a connection, from the side that accepted it: who dialled, and whether the two fit together.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sessionmesh_core::id::NodeHash;
use sessionmesh_core::wire::codec::{self, HelloRead};
use sessionmesh_core::wire::message::{Hello, MAGIC, Message, Refused, Welcome};
use sessionmesh_core::wire::version::{Version, Versions};
use tokio::time::timeout;
use tracing::debug;

use super::frame::{self, FrameReader};
use super::handshake::{HANDSHAKE_BYTES_MAX, HANDSHAKE_DEADLINES};
use crate::engine::state::node::Node;
use crate::network::ByteStream;
use crate::security::Refusal;
use crate::security::links::{Secured, refusal as security_refusal};

/// Who dialled.
pub(crate) struct Dialler {
    pub(crate) node: NodeHash,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    /// What is spoken on this connection.
    pub(crate) version: Version,
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
    let Some(HelloRead { magic: MAGIC, versions: theirs, hello }) = codec::hello(&bytes) else {
        return Err(io::Error::other("the first message was no hello of this protocol"));
    };
    let ours = node.identity.versions;
    // Who only asks who is there takes no part.
    let later = |hello: &Hello<'_>| later_life(node, hello.name, hello.incarnation).filter(|_| hello.expects != 0);
    if let Some((why, text)) = refusal(hello.as_ref().ok(), &node.config.cluster, [theirs, ours], later) {
        let answer = codec::encode_first(&Message::Refused(why)).map_err(io::Error::other)?;
        frame::write(stream, &answer).await?;
        return Err(refused(node, why, ip, text));
    }
    let hello = hello.map_err(io::Error::other)?;
    let version = ours.common(theirs).ok_or(io::ErrorKind::InvalidData)?;
    node.replication.lamport.observe(hello.counter);
    let welcome = Message::Welcome(Welcome {
        version: version.number(),
        name: &node.config.name,
        incarnation: node.identity.incarnation,
        counter: node.replication.lamport.now(),
    });
    frame::write(stream, &codec::encode_first(&welcome).map_err(io::Error::other)?).await?;
    let from = NodeHash::of(hello.name, hello.incarnation);
    if hello.expects != 0
        && node.cluster.topology.load().peer(from).is_none()
        && let Some(addr) = reachable(node, hello.addr, ip)
    {
        // If there is no room gossip will tell of it.
        let _ = node.cluster.strangers.try_send(addr);
    }
    Ok(Dialler { node: from, name: hello.name.to_owned(), incarnation: hello.incarnation, version, ip })
}

/// The address that a dialler from `ip` says it has, unless it is on another machine and says a loopback address: that
/// would be this machine's.
pub(crate) fn reachable(node: &Node, addr: &str, ip: IpAddr) -> Option<SocketAddr> {
    let addr: SocketAddr = addr.parse().ok()?;
    let ip = ip.to_canonical();
    let here = ip.is_loopback() || ip == node.identity.advertise.ip().to_canonical();
    (here || !addr.ip().to_canonical().is_loopback()).then_some(addr)
}

/// Why the dialler is refused, for it and for the log: none of its hello can be read if its version is too new.
fn refusal(
    hello: Option<&Hello<'_>>,
    cluster: &str,
    [theirs, ours]: [Versions; 2],
    later: impl FnOnce(&Hello<'_>) -> Option<u64>,
) -> Option<(Refused, String)> {
    let name = hello.map_or("a node", |hello| hello.name);
    if let Some(other) = hello.map(|hello| hello.cluster).filter(|other| *other != cluster) {
        let text = format!("refused `{name}`, a node of cluster `{other}`; this node's cluster is `{cluster}`");
        return Some((Refused::Cluster, text));
    }
    if ours.common(theirs).is_none() {
        let why = Refused::Version { min: ours.oldest(), max: ours.newest() };
        let text = format!(
            "refused `{name}`: it speaks version {theirs} of the protocol, this node {ours}; update the older side"
        );
        return Some((why, text));
    }
    let (known, incarnation) = (hello.and_then(later)?, hello?.incarnation);
    Some((
        Refused::Stale { known },
        format!("refused incarnation {incarnation} of `{name}`: incarnation {known} is newer"),
    ))
}

/// Whoever is refused comes again and again, and anybody can ask to be: the log says so now and then only.
fn refused(node: &Node, why: Refused, from: IpAddr, text: String) -> io::Error {
    let refusal = match why {
        Refused::Version { .. } => Refusal::OtherVersion,
        Refused::Cluster => Refusal::OtherCluster,
        Refused::Stale { .. } => Refusal::EarlierLife,
    };
    node.refused(refusal, from, &text);
    io::Error::other(text)
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
            cluster: "theirs",
            name: "n1",
            incarnation: 3,
            addr: "127.0.0.1:1",
            expects: 1,
            counter: 0,
        };
        let [older, newer] = [Versions::new(2, 3), Versions::new(7, 9)];
        let says = |hello: Option<&Hello<'_>>, cluster, ours, known: Option<u64>, why, words: &[&str]| {
            let (told, text) = refusal(hello, cluster, [newer, ours], |_| known).expect("it is refused");
            assert_eq!(told, why);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        let version = Refused::Version { min: 2, max: 3 };
        says(Some(&hello), "ours", newer, None, Refused::Cluster, &["`n1`", "`theirs`", "`ours`"]);
        says(Some(&hello), "ours", older, None, Refused::Cluster, &["`theirs`"]);
        says(Some(&hello), "theirs", older, None, version, &["`n1`", "7 to 9", "2 to 3", "update the older side"]);
        says(None, "theirs", older, None, version, &["a node", "7 to 9", "2 to 3"]);
        says(Some(&hello), "theirs", newer, Some(4), Refused::Stale { known: 4 }, &["`n1`", "3", "4"]);
        assert_eq!(refusal(Some(&hello), "theirs", [newer, newer], |_| None), None);
    }
}
