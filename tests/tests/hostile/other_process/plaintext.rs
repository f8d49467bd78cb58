//! Nodes with a secret at the port of one that has none.

use sessionmesh::Secret;

use super::alone::{Alone, SecretFile};
use super::insider::Insider;
use super::strangers::meets;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_clear_refuses_what_is_encrypted_and_says_so() {
    let alone = Alone::start(false).await;
    let visitors = alone.visitors();
    let before = alone.health().await;
    let insider = Insider::new(&SecretFile::new().bytes, &alone.cluster);
    assert!(insider.dial(alone.node.replication()).await.is_err(), "it has no TLS to answer with");
    let health = alone.refuses("a TLS handshake", &["encrypted"], &before).await;
    assert_eq!((health.since(&before), health.decoded), (vec!["encrypted"], 0));
    // A whole node, by links and by datagrams.
    let other = meets(&alone, &alone.cluster, Some(Secret::generate())).await;
    let health = alone.refuses("a node with a secret", &["encrypted", "sealed_datagram"], &health).await;
    assert_eq!((health.decoded, other.members().len()), (0, 1));
    assert!(alone.log().contains("give it the `secret` of the others"), "{}", alone.log());
    alone.is_well(visitors).await;
}
