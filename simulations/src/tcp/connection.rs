//! What a connection is between two machines, whatever time it is and whoever asks: a machine of states, so that it can be
//! tested by itself.
//!
//! Nothing happens by itself. Whoever reads or writes asks what has become of the connection by now, and is told when it is
//! worth asking again.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use crate::impairments::{Impairments, Passage};

/// How long a system waits before it sends again what was not confirmed; then twice as long, and so on (the least that Linux
/// waits).
pub(super) const FIRST_RETRANSMISSION: Duration = Duration::from_millis(200);

/// Who of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialler = 0,
    Listener = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes; 0 for the end.
    Bytes(usize),
    /// The other machine does not know the connection any more.
    Reset,
    /// Nothing yet: ask again when woken, or at this time.
    Wait(Option<Duration>),
}

/// What a writer gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// So many bytes were taken.
    Bytes(usize),
    /// The connection is closed.
    Closed,
    /// There is no room: ask again when woken, or at this time.
    Wait(Option<Duration>),
}

#[derive(Debug)]
pub(super) struct Connection {
    ends: [End; 2],
    /// What each end has written.
    pipes: [Pipe; 2],
    /// Bytes that one end may have written and the other one not read: the buffers of both systems.
    capacity: usize,
}

#[derive(Debug)]
struct End {
    address: SocketAddr,
    /// The process has closed it, or died.
    gone: bool,
    /// It will write no more.
    finished: bool,
    /// When it is told that the other machine does not know the connection.
    reset_at: Option<Duration>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    /// So many of them have arrived.
    arrived: usize,
    /// Bytes of all of them.
    bytes: usize,
    /// Bytes that were read while no confirmation came back.
    unconfirmed: usize,
    /// What was lost is sent again at this time.
    again_at: Duration,
    pause: Duration,
    /// Nobody sends again what is lost.
    abandoned: bool,
}

#[derive(Debug)]
struct Segment {
    due: Duration,
    bytes: Vec<u8>,
    /// So many of them were read.
    read: usize,
    /// Nothing follows.
    last: bool,
}

impl Connection {
    pub(super) fn new(dialler: SocketAddr, listener: SocketAddr, capacity: usize) -> Self {
        let end = |address| End { address, gone: false, finished: false, reset_at: None, reader: None, writer: None };
        let pipe = || Pipe { pause: FIRST_RETRANSMISSION, ..Pipe::default() };
        Self { ends: [end(dialler), end(listener)], pipes: [pipe(), pipe()], capacity }
    }

    pub(super) fn address(&self, side: Side) -> SocketAddr {
        self.ends[side as usize].address
    }

    pub(super) fn is_between(&self, one: IpAddr, other: IpAddr) -> bool {
        let [dialler, listener] = [&self.ends[0], &self.ends[1]].map(|end| end.address.ip());
        (dialler, listener) == (one, other) || (dialler, listener) == (other, one)
    }

    /// Whether something that was sent has to be sent again.
    pub(super) fn stands_still(&self) -> bool {
        self.pipes.iter().any(|pipe| !pipe.again_at.is_zero())
    }

    /// What has to be sent again is sent at once.
    pub(super) fn resume(&mut self, now: Duration) {
        for side in [Side::Dialler, Side::Listener] {
            let pipe = &mut self.pipes[side as usize];
            if !pipe.again_at.is_zero() {
                pipe.again_at = now;
                self.wake(side.other());
            }
        }
    }

    /// What has arrived by `now` has arrived, whatever happens to the links afterwards.
    pub(super) fn settle(&mut self, now: Duration, links: &Impairments) {
        for side in [Side::Dialler, Side::Listener] {
            self.arrival(side, now, links);
        }
    }

    /// Reads at most `most` bytes for `side`, and gives them to `take` piece by piece.
    pub(super) fn read(
        &mut self,
        side: Side,
        most: usize,
        now: Duration,
        links: &Impairments,
        mut take: impl FnMut(&[u8]),
    ) -> Read {
        let next = self.arrival(side.other(), now, links);
        let confirmed = links.passage(self.ip(side), self.ip(side.other())) == Passage::Open;
        let pipe = &mut self.pipes[side.other() as usize];
        let mut taken = 0;
        while let Some(segment) = pipe.segments.front_mut().filter(|_| pipe.arrived > 0 && taken < most) {
            let rest = &segment.bytes[segment.read..];
            let piece = rest.len().min(most - taken);
            take(&rest[..piece]);
            taken += piece;
            segment.read += piece;
            if segment.read < segment.bytes.len() {
                break;
            }
            if segment.last {
                // It stays: whoever reads again gets the end again.
                break;
            }
            pipe.segments.pop_front();
            pipe.arrived -= 1;
        }
        let ended = pipe.arrived > 0 && pipe.segments.front().is_some_and(|segment| segment.last);
        pipe.bytes -= taken;
        if taken > 0 {
            pipe.unconfirmed = if confirmed { 0 } else { pipe.unconfirmed + taken };
            wake(&mut self.ends[side.other() as usize].writer);
            return Read::Bytes(taken);
        }
        if ended {
            return Read::Bytes(0);
        }
        let refused = self.refusal(side, now, links);
        if self.is_reset(side, now) {
            return Read::Reset;
        }
        Read::Wait(earliest([next, refused, self.ends[side as usize].reset_at]))
    }

    /// Writes as much of `bytes` for `side` as there is room for.
    pub(super) fn write(&mut self, side: Side, bytes: &[u8], now: Duration, links: &Impairments) -> Written {
        let refused = self.refusal(side, now, links);
        if self.ends[side as usize].finished || self.is_reset(side, now) {
            return Written::Closed;
        }
        let confirmed = links.passage(self.ip(side.other()), self.ip(side)) == Passage::Open;
        let pipe = &mut self.pipes[side as usize];
        if confirmed {
            pipe.unconfirmed = 0;
        }
        let room = self.capacity.saturating_sub(pipe.bytes + pipe.unconfirmed);
        if bytes.is_empty() {
            return Written::Bytes(0);
        }
        if room == 0 {
            let confirmed = (!confirmed).then_some(now + FIRST_RETRANSMISSION);
            return Written::Wait(earliest([refused, confirmed, self.ends[side as usize].reset_at]));
        }
        let taken = bytes.len().min(room);
        self.send(side, bytes[..taken].to_vec(), false, now, links);
        Written::Bytes(taken)
    }

    /// `side` writes no more.
    pub(super) fn finish(&mut self, side: Side, now: Duration, links: &Impairments) {
        if !std::mem::replace(&mut self.ends[side as usize].finished, true) {
            self.send(side, Vec::new(), true, now, links);
        }
    }

    /// The process of `side` has closed the connection, or died, by itself or with its machine.
    pub(super) fn close(&mut self, side: Side, now: Duration, links: &Impairments) {
        if std::mem::replace(&mut self.ends[side as usize].gone, true) {
            return;
        }
        self.arrival(side.other(), now, links);
        let inbound = &self.pipes[side.other() as usize];
        let unread = inbound.segments.iter().take(inbound.arrived).any(|segment| segment.read < segment.bytes.len());
        if !links.has_machine(self.ip(side)) {
            self.abandon(side);
        } else if unread {
            // Systems say so at once when something that arrived was never read, and forget what was still to be sent.
            self.abandon(side);
            self.refuse(side.other(), now, links);
        } else {
            self.finish(side, now, links);
        }
        let inbound = &mut self.pipes[side.other() as usize];
        for segment in inbound.segments.drain(..inbound.arrived) {
            inbound.bytes -= segment.bytes.len() - segment.read;
        }
        inbound.arrived = 0;
        self.wake(side.other());
    }

    /// The machine at `ip` has died: its system sends nothing more, for processes that are long gone either.
    pub(super) fn machine_died(&mut self, ip: IpAddr) {
        for side in [Side::Dialler, Side::Listener] {
            if self.ip(side) == ip {
                self.abandon(side);
            }
        }
    }

    /// Something between the two has forgotten the connection, and says so to both.
    pub(super) fn reset(&mut self, now: Duration) {
        for side in [Side::Dialler, Side::Listener] {
            self.ends[side as usize].reset_at.get_or_insert(now);
            self.wake(side);
        }
    }

    pub(super) fn wake_reader_by(&mut self, side: Side, waker: &Waker) {
        self.ends[side as usize].reader = Some(waker.clone());
    }

    pub(super) fn wake_writer_by(&mut self, side: Side, waker: &Waker) {
        self.ends[side as usize].writer = Some(waker.clone());
    }

    fn ip(&self, side: Side) -> IpAddr {
        self.ends[side as usize].address.ip()
    }

    fn wake(&mut self, side: Side) {
        let end = &mut self.ends[side as usize];
        wake(&mut end.reader);
        wake(&mut end.writer);
    }

    fn is_reset(&self, side: Side, now: Duration) -> bool {
        self.ends[side as usize].reset_at.is_some_and(|at| at <= now)
    }

    /// `side` is told that the other machine does not know the connection, unless that is lost, too.
    fn refuse(&mut self, side: Side, now: Duration, links: &Impairments) {
        let (from, to) = (self.ip(side.other()), self.ip(side));
        if links.passage(from, to) != Passage::Cut {
            let at = now + links.latency(from, to);
            self.ends[side as usize].reset_at.get_or_insert(at);
        }
    }

    /// What `side` has sent and what has not arrived is not sent again.
    fn abandon(&mut self, side: Side) {
        self.ends[side as usize].finished = true;
        let pipe = &mut self.pipes[side as usize];
        pipe.abandoned = true;
        if !pipe.again_at.is_zero() {
            pipe.forget();
        }
    }

    fn send(&mut self, side: Side, bytes: Vec<u8>, last: bool, now: Duration, links: &Impairments) {
        let due = now + links.latency(self.ip(side), self.ip(side.other()));
        let pipe = &mut self.pipes[side as usize];
        // Nothing overtakes what was sent before it.
        let due = pipe.segments.back().map_or(due, |before| due.max(before.due));
        pipe.bytes += bytes.len();
        pipe.segments.push_back(Segment { due, bytes, read: 0, last });
        wake(&mut self.ends[side.other() as usize].reader);
    }

    /// Lets arrive what `side` has sent, as far as it does by `now`. When it is worth asking again, if nothing has arrived: none if
    /// nothing is under way.
    fn arrival(&mut self, side: Side, now: Duration, links: &Impairments) -> Option<Duration> {
        let (from, to) = (self.ip(side), self.ip(side.other()));
        let pipe = &mut self.pipes[side as usize];
        let due = pipe.segments.get(pipe.arrived)?.due.max(pipe.again_at);
        if due > now {
            return Some(due);
        }
        match links.passage(from, to) {
            // Who waits for it is woken.
            Passage::Held => None,
            Passage::Open => {
                (pipe.again_at, pipe.pause) = (Duration::ZERO, FIRST_RETRANSMISSION);
                while pipe.segments.get(pipe.arrived).is_some_and(|segment| segment.due <= now) {
                    pipe.arrived += 1;
                }
                pipe.segments.get(pipe.arrived).map(|next| next.due)
            }
            Passage::Cut if pipe.abandoned => {
                pipe.forget();
                None
            }
            Passage::Cut => Some(pipe.send_again(now)),
        }
    }

    /// What `side` sends to a machine whose process has closed the connection is refused there. When it is worth asking again.
    fn refusal(&mut self, side: Side, now: Duration, links: &Impairments) -> Option<Duration> {
        if !self.ends[side.other() as usize].gone || self.ends[side as usize].reset_at.is_some() {
            return None;
        }
        let next = self.arrival(side, now, links);
        let pipe = &mut self.pipes[side as usize];
        if pipe.arrived == 0 {
            return next;
        }
        pipe.arrived = 0;
        self.refuse(side, now, links);
        // If nothing came back, it is sent again.
        let told = self.ends[side as usize].reset_at;
        told.or_else(|| Some(self.pipes[side as usize].send_again(now)))
    }
}

impl Pipe {
    /// What has not arrived was lost, and is sent again at the time that is returned.
    fn send_again(&mut self, now: Duration) -> Duration {
        self.again_at = now + self.pause;
        self.pause *= 2;
        self.again_at
    }

    /// What has not arrived never will.
    fn forget(&mut self) {
        for segment in self.segments.drain(self.arrived..) {
            self.bytes -= segment.bytes.len();
        }
        self.again_at = Duration::ZERO;
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn earliest<const N: usize>(times: [Option<Duration>; N]) -> Option<Duration> {
    times.into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
