use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_connection_carries_bytes_both_ways() {
    let listener = TokioNetwork.listen(ANY).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    });
    let mut stream = TokioNetwork.connect(addr).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    timeout(DEADLINE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"hello");
    echo.await.unwrap();
}

#[tokio::test]
async fn a_port_is_free_again_as_soon_as_its_listener_is_gone() {
    let listener = TokioNetwork.listen(ANY).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TokioNetwork.connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    drop((server, listener));
    TokioNetwork.listen(addr).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn a_datagram_arrives_with_its_sender() {
    let one = TokioNetwork.datagrams(DatagramBind::Unicast(ANY)).await.unwrap();
    let two = TokioNetwork.datagrams(DatagramBind::Unicast(ANY)).await.unwrap();
    one.send_to(b"ping", two.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 16];
    let (length, from) = timeout(DEADLINE, two.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((&buffer[..length], from), (&b"ping"[..], one.local_addr().unwrap()));
}

#[tokio::test]
async fn two_sockets_of_a_group_on_one_port_of_the_loopback_interface_both_hear() {
    let free = TokioNetwork.datagrams(DatagramBind::Unicast(ANY)).await.unwrap();
    let bind = MulticastBind {
        group: Ipv4Addr::new(228, 0, 0, 9),
        port: free.local_addr().unwrap().port(),
        interface: Ipv4Addr::LOCALHOST,
        ttl: 1,
        loopback: true,
    };
    drop(free);
    let one = TokioNetwork.datagrams(DatagramBind::Multicast(bind)).await.unwrap();
    let two = TokioNetwork.datagrams(DatagramBind::Multicast(bind)).await.unwrap();
    one.send_to(b"beacon", (bind.group, bind.port).into()).await.unwrap();
    for socket in [&one, &two] {
        let mut buffer = [0; 16];
        let (length, from) = timeout(DEADLINE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"beacon"[..], Ipv4Addr::LOCALHOST.into()));
    }
}

#[tokio::test]
async fn a_name_is_resolved_to_addresses() {
    let addrs = TokioNetwork.resolve("localhost:80").await.unwrap();
    assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80));
    assert!(!addrs.is_empty());
}
