//! Messages as they are sent, and connections that the node closes.

use std::io;
use std::time::Duration;

use sessionmesh::network::ByteStream;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::Message;
use sessionmesh_core::wire::version::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("small");
    [&length.to_le_bytes()[..], &[0], payload].concat()
}

pub(crate) async fn send(stream: &mut Box<dyn ByteStream>, message: &Message<'_>) -> io::Result<()> {
    stream.write_all(&framed(&codec::encode(message, Version::NEWEST).expect("it is small"))).await
}

/// The next message of at most one frame; `None` when the node has closed the connection.
pub(crate) async fn receive(stream: &mut Box<dyn ByteStream>) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 5];
    match stream.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => drop(read?),
    }
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let mut payload = vec![0; length - 1];
    stream.read_exact(&mut payload).await?;
    Ok(Some(payload))
}

/// Waits until the node closes the connection, whatever it says before.
pub(crate) async fn closes(stream: &mut Box<dyn ByteStream>, within: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    let mut space = [0; 4096];
    loop {
        match timeout(within.saturating_sub(start.elapsed()), stream.read(&mut space)).await {
            Ok(Ok(0) | Err(_)) => return Ok(start.elapsed()),
            Ok(Ok(_)) => {}
            Err(_) => return Err(format!("still open after {within:?}")),
        }
    }
}

/// Sends `bytes`, says nothing more, and waits until the node has closed the connection.
pub(crate) async fn throw(mut stream: Box<dyn ByteStream>, bytes: &[u8], within: Duration) -> Result<Duration, String> {
    // The node may close it before all was written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    closes(&mut stream, within).await
}
