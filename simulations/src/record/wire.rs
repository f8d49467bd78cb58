//! Which bytes went over the network, and when they had arrived.
//!
//! The two ends of a connection count what is written and read. A message that ends at byte n of its direction has
//! arrived when the reader has read n bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sessionmesh::network::ByteStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::describe::Describer;
use super::timeline::{Carrier, Fate, Message, Topic};
use super::{Recorder, node_at, sim_ms};

/// Length and flags of a frame, in bytes.
const HEADER_BYTES: usize = 5;

/// All connections of a run, and the datagrams under way.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    connections: Vec<Connection>,
    /// The latest connection between two addresses; that of the dialler comes first.
    by_addresses: BTreeMap<(SocketAddr, SocketAddr), usize>,
    datagrams: BTreeMap<(SocketAddr, u64), Vec<Sent>>,
    describer: Describer,
}

/// What the dialler and the listener write.
#[derive(Debug, Default)]
struct Connection {
    /// Who has come.
    has: [bool; 2],
    closed: [bool; 2],
    directions: [Direction; 2],
}

#[derive(Debug, Default)]
struct Direction {
    written: u64,
    read: u64,
    /// Bytes of frames that are not complete.
    frames: Vec<u8>,
    /// Parts of a message that is not complete.
    message: Vec<u8>,
    /// The bytes are no frames, so there is nothing to be told of what follows.
    opaque: bool,
    /// Messages that have not arrived: the offset of their end, and their place in the recording.
    under_way: VecDeque<(u64, usize)>,
}

#[derive(Debug)]
struct Sent {
    sent_ms: u64,
    /// Its place in the recording, which one to a group does not have.
    message: Option<usize>,
    from: usize,
    text: String,
}

impl Wire {
    /// The connection of these addresses, for one end of it.
    fn join(&mut self, dialler: SocketAddr, listener: SocketAddr, side: usize) -> usize {
        if let Some(&at) = self.by_addresses.get(&(dialler, listener)) {
            let connection = &mut self.connections[at];
            if !connection.has[side] && !connection.closed[1 - side] {
                connection.has[side] = true;
                return at;
            }
        }
        let mut connection = Connection::default();
        connection.has[side] = true;
        self.connections.push(connection);
        let at = self.connections.len() - 1;
        self.by_addresses.insert((dialler, listener), at);
        at
    }

    /// What has not arrived, although both ends are open, is under way.
    pub(crate) fn settle(&self, messages: &mut [Message]) {
        for connection in self.connections.iter().filter(|connection| connection.closed == [false, false]) {
            for (_, message) in connection.directions.iter().flat_map(|direction| &direction.under_way) {
                messages[*message].fate = Fate::UnderWay;
            }
        }
    }
}

impl Direction {
    /// Takes what was written; gives each message that is complete, and the offset of its end.
    fn write(&mut self, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        self.written += bytes.len() as u64;
        let mut messages = Vec::new();
        if self.opaque {
            return messages;
        }
        self.frames.extend_from_slice(bytes);
        let mut start = 0;
        while let Some((header, body)) = self.frames[start..].split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*header) as usize;
            if length == 0 {
                self.opaque = true;
                break;
            }
            let Some(frame) = body.get(..length) else { break };
            self.message.extend_from_slice(&frame[1..]);
            start += HEADER_BYTES - 1 + length;
            if frame[0] == 0 {
                let after = (self.frames.len() - start) as u64;
                messages.push((self.written - after, std::mem::take(&mut self.message)));
            }
        }
        self.frames.drain(..start);
        messages
    }

    /// Takes how much was read; gives the places of the messages that have arrived with it.
    fn read(&mut self, bytes: usize) -> Vec<usize> {
        self.read += bytes as u64;
        let arrived = self.under_way.iter().take_while(|(end, _)| *end <= self.read).count();
        self.under_way.drain(..arrived).map(|(_, message)| message).collect()
    }
}

/// Who a node is in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It asked for it.
    Dialled,
    /// It was asked.
    Listened,
}

/// One end of a connection of which everything is recorded.
pub(crate) struct RecordedStream {
    stream: Box<dyn ByteStream>,
    recorder: Recorder,
    connection: usize,
    /// 0 dialled, 1 listened.
    side: usize,
    nodes: [usize; 2],
}

impl RecordedStream {
    /// The end on `side` of a connection between these addresses, its own first.
    pub(crate) fn new(
        stream: Box<dyn ByteStream>,
        recorder: &Recorder,
        side: Side,
        (here, there): (SocketAddr, SocketAddr),
    ) -> Self {
        let (dialler, listener, side) = match side {
            Side::Dialled => (here, there, 0),
            Side::Listened => (there, here, 1),
        };
        let nodes = [dialler, listener].map(|addr| node_at(addr.ip()).unwrap_or_default());
        let connection = recorder.recording().map(|mut all| all.wire.join(dialler, listener, side)).unwrap_or_default();
        Self { stream, recorder: recorder.clone(), connection, side, nodes }
    }

    fn written(&self, bytes: &[u8]) {
        let Some(mut recording) = self.recorder.recording() else { return };
        let sent_ms = recording.at(sim_ms());
        let recording = &mut *recording;
        let direction = &mut recording.wire.connections[self.connection].directions[self.side];
        for (end, message) in direction.write(bytes) {
            let (topic, text) = recording.wire.describer.describe(self.connection, &message);
            direction.under_way.push_back((end, recording.timeline.messages.len()));
            let (from, to) = (self.nodes[self.side], self.nodes[1 - self.side]);
            let (fate, carrier) = (Fate::Lost, Carrier::Link);
            recording.timeline.messages.push(Message { from, to, sent_ms, fate, carrier, topic, text });
        }
    }

    fn read(&self, bytes: usize) {
        let Some(mut recording) = self.recorder.recording() else { return };
        let now_ms = recording.at(sim_ms());
        let recording = &mut *recording;
        for message in recording.wire.connections[self.connection].directions[1 - self.side].read(bytes) {
            recording.timeline.messages[message].fate = Fate::Arrived(now_ms);
        }
    }
}

impl fmt::Debug for RecordedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedStream").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        if let Some(mut recording) = self.recorder.recording() {
            recording.wire.connections[self.connection].closed[self.side] = true;
        }
    }
}

impl AsyncRead for RecordedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RecordedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.written(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A datagram that was sent or received: between whom, and what.
pub(crate) struct Datagram<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: &'a [u8],
}

impl Datagram<'_> {
    fn key(&self) -> (SocketAddr, u64) {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.bytes);
        (self.from, hasher.finish())
    }
}

impl Recorder {
    /// A datagram is sent so many times, or thrown away instead.
    pub(crate) fn datagram_sent(&self, datagram: &Datagram<'_>, times: usize) {
        let Some(mut recording) = self.recording() else { return };
        let sent_ms = recording.at(sim_ms());
        let from = node_at(datagram.from.ip()).unwrap_or_default();
        let to_group = datagram.to.ip().is_multicast();
        let what = if to_group { "beacon" } else { "gossip" };
        let fate = match times {
            0 => ", thrown away",
            1 => "",
            _ => ", doubled",
        };
        let text = format!("{what} of {} bytes{fate}", datagram.bytes.len());
        let mut sent = Sent { sent_ms, message: None, from, text };
        if let (false, Some(to)) = (to_group, node_at(datagram.to.ip())) {
            sent.message = Some(recording.timeline.messages.len());
            recording.timeline.messages.push(sent.message(to));
        }
        if times > 0 {
            recording.wire.datagrams.entry(datagram.key()).or_default().push(sent);
        }
    }

    /// A datagram has arrived.
    pub(crate) fn datagram_received(&self, datagram: &Datagram<'_>) {
        let Some(mut recording) = self.recording() else { return };
        let now_ms = recording.at(sim_ms());
        let recording = &mut *recording;
        let Some(to) = node_at(datagram.to.ip()) else { return };
        let Some(sent) = recording.wire.datagrams.get(&datagram.key()) else { return };
        let mine = |sent: &&Sent| sent.message.is_none_or(|at| recording.timeline.messages[at].to == to);
        let Some(sent) = sent.iter().rfind(mine) else { return };
        match sent.message {
            // The second of a doubled one changes nothing.
            Some(at) if recording.timeline.messages[at].arrived_ms().is_some() => {}
            Some(at) => recording.timeline.messages[at].fate = Fate::Arrived(now_ms),
            None => {
                let message = Message { fate: Fate::Arrived(now_ms), ..sent.message(to) };
                recording.timeline.messages.push(message);
            }
        }
    }
}

impl Sent {
    fn message(&self, to: usize) -> Message {
        Message {
            from: self.from,
            to,
            sent_ms: self.sent_ms,
            fate: Fate::Lost,
            carrier: Carrier::Datagram,
            topic: Topic::Background,
            text: self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_arrived_when_its_last_byte_was_read() {
        let mut direction = Direction::default();
        assert!(direction.write(&[3, 0, 0, 0, 1, b'a', b'b']).is_empty(), "more of it follows");
        let bytes = [2, 0, 0, 0, 0, b'c', 2, 0, 0, 0, 0, b'd', 9];
        assert_eq!(direction.write(&bytes), [(13, b"abc".to_vec()), (19, b"d".to_vec())]);
        direction.under_way = [(13, 0), (19, 1)].into();
        assert!(direction.read(12).is_empty());
        assert_eq!(direction.read(1), [0]);
        assert_eq!(direction.read(7), [1]);
    }

    #[test]
    fn two_ends_meet_and_addresses_may_be_used_again() {
        let (dialler, listener) = (([10, 0, 0, 1], 5000).into(), ([10, 0, 0, 2], 7400).into());
        let mut wire = Wire::default();
        assert_eq!(wire.join(dialler, listener, 1), 0);
        assert_eq!(wire.join(dialler, listener, 0), 0);
        assert_eq!(wire.join(dialler, listener, 0), 1);
        wire.connections[1].closed[0] = true;
        assert_eq!(wire.join(dialler, listener, 1), 2);
    }
}
