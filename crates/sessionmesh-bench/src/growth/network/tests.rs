use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[tokio::test]
async fn bytes_of_both_directions_of_a_stream_are_counted() {
    let network = MemoryNetwork::default();
    let listener = network.listen(any()).await.unwrap();
    let mut near = network.connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.write_all(b"ping").await.unwrap();
    far.write_all(b"answer").await.unwrap();
    let (mut at_far, mut at_near) = ([0; 4], [0; 6]);
    far.read_exact(&mut at_far).await.unwrap();
    near.read_exact(&mut at_near).await.unwrap();
    assert_eq!((&at_far, &at_near), (b"ping", b"answer"));
    assert_eq!(network.traffic(), Traffic { stream_bytes: 10, ..Traffic::default() });
}

#[tokio::test]
async fn where_nobody_listens_any_more_connections_are_refused_and_datagrams_vanish() {
    let network = MemoryNetwork::default();
    let listener = network.listen(any()).await.unwrap();
    let at = listener.local_addr().unwrap();
    assert_eq!(network.listen(at).await.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    assert_eq!(network.connect(at).await.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    let socket = network.datagrams(DatagramBind::Unicast(any())).await.unwrap();
    socket.send_to(b"lost", at).await.unwrap();
    let expected = Traffic { datagrams: 1, datagram_bytes: 4, ..Traffic::default() };
    assert_eq!(network.traffic(), expected);
}

#[tokio::test]
async fn datagrams_arrive_whole_with_their_sender_until_the_queue_is_full() {
    let network = MemoryNetwork::default();
    let socket = async || network.datagrams(DatagramBind::Unicast(any())).await.unwrap();
    let (sender, receiver) = (socket().await, socket().await);
    let to = receiver.local_addr().unwrap();
    let before = network.traffic();
    for _ in 0..=DATAGRAMS_MAX {
        sender.send_to(b"message", to).await.unwrap();
    }
    let traffic = network.traffic().since(before);
    assert_eq!((traffic.datagrams, traffic.datagrams_lost), (DATAGRAMS_MAX as u64 + 1, 1));
    let mut buffer = [0; 4];
    let received = receiver.recv_from(&mut buffer).await.unwrap();
    assert_eq!((received, &buffer), ((4, sender.local_addr().unwrap()), b"mess"));
}
