use std::collections::BTreeSet;

use super::*;
use crate::impairments::Down;
use crate::scenario::{Network, Streams};

const ROOM: usize = 1_000;

/// A connection over a link on which each message takes 1 ms.
struct Bench {
    links: Impairments,
    connection: Connection,
}

impl Bench {
    fn new() -> Self {
        let links = Impairments::new(
            Network { latency_ms: (1, 1), lost: 0, doubled: 0, delayed: 0, streams: Streams::default() },
            0,
        );
        let [dialler, listener] = [addr(1), addr(2)];
        Self { links, connection: Connection::new(dialler, listener, ROOM) }
    }

    fn write(&mut self, side: Side, bytes: &[u8], at_ms: u64) -> Written {
        self.connection.write(side, bytes, ms(at_ms), &self.links)
    }

    /// What is read, or why nothing is.
    fn read(&mut self, side: Side, at_ms: u64) -> Result<Vec<u8>, Read> {
        let mut bytes = Vec::new();
        match self.connection.read(side, 10_000, ms(at_ms), &self.links, |piece| bytes.extend_from_slice(piece)) {
            Read::Bytes(_) => Ok(bytes),
            other => Err(other),
        }
    }

    /// Nothing passes from now on, or everything does.
    fn cut(&mut self, cut: bool, at_ms: u64) {
        self.connection.settle(ms(at_ms), &self.links);
        let [one, other] = [addr(1).ip(), addr(2).ip()];
        self.links.cut(if cut { [(one, other), (other, one)].into() } else { BTreeSet::new() });
    }

    fn close(&mut self, side: Side, at_ms: u64) {
        self.connection.close(side, ms(at_ms), &self.links);
    }

    fn machine(&self, host: u8, down: Option<Down>) {
        self.links.set_down(addr(host).ip(), down);
    }
}

fn addr(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 7400).into()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn wait(at_ms: u64) -> Result<Vec<u8>, Read> {
    Err(Read::Wait(Some(ms(at_ms))))
}

use Side::{Dialler, Listener};

#[test]
fn bytes_arrive_in_order_after_their_way_and_so_does_the_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(Dialler, b"ab", 0), Written::Bytes(2));
    assert_eq!(bench.write(Dialler, b"cd", 0), Written::Bytes(2));
    assert_eq!(bench.read(Listener, 0), wait(1));
    assert_eq!(bench.read(Listener, 1), Ok(b"abcd".to_vec()));
    assert_eq!(bench.read(Listener, 1), Err(Read::Wait(None)));
    bench.close(Dialler, 5);
    assert_eq!(bench.read(Listener, 5), wait(6));
    assert_eq!(bench.read(Listener, 6), Ok(Vec::new()));
    assert_eq!(bench.read(Listener, 7), Ok(Vec::new()), "the end stays the end");
}

#[test]
fn a_full_buffer_takes_a_part_and_then_nothing_until_something_is_read() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(Dialler, &[7; ROOM + 5], 0), Written::Bytes(ROOM));
    assert_eq!(bench.write(Dialler, b"x", 0), Written::Wait(None));
    assert_eq!(bench.read(Listener, 1).map(|bytes| bytes.len()), Ok(ROOM));
    assert_eq!(bench.write(Dialler, b"x", 1), Written::Bytes(1));
}

#[test]
fn what_is_sent_into_a_cut_arrives_after_it_in_order() {
    let mut bench = Bench::new();
    bench.write(Dialler, b"before", 0);
    bench.cut(true, 1);
    bench.write(Dialler, b" while", 2);
    assert_eq!(bench.read(Listener, 5), Ok(b"before".to_vec()), "it had arrived");
    assert_eq!(bench.read(Listener, 5), wait(205));
    assert_eq!(bench.read(Listener, 205), wait(605));
    bench.cut(false, 300);
    bench.write(Dialler, b" after", 301);
    assert_eq!(bench.read(Listener, 604), wait(605));
    assert_eq!(bench.read(Listener, 605), Ok(b" while after".to_vec()));
}

#[test]
fn a_system_goes_on_sending_for_a_process_that_has_died() {
    let mut bench = Bench::new();
    bench.cut(true, 0);
    bench.write(Dialler, b"late", 0);
    bench.close(Dialler, 1);
    assert_eq!(bench.read(Listener, 2), wait(202));
    bench.cut(false, 10);
    assert_eq!(bench.read(Listener, 202), Ok(b"late".to_vec()));
    assert_eq!(bench.read(Listener, 203), Ok(Vec::new()));
}

#[test]
fn who_closes_with_something_unread_resets_the_connection() {
    let mut bench = Bench::new();
    bench.write(Listener, b"unread", 0);
    bench.close(Dialler, 2);
    assert_eq!(bench.read(Listener, 2), wait(3));
    assert_eq!(bench.read(Listener, 3), Err(Read::Reset));
    assert_eq!(bench.write(Listener, b"x", 3), Written::Closed);
}

#[test]
fn who_writes_to_one_that_has_closed_is_told_after_a_round_trip() {
    let mut bench = Bench::new();
    bench.close(Listener, 0);
    assert_eq!(bench.write(Dialler, b"x", 0), Written::Bytes(1), "the end has not arrived");
    assert_eq!(bench.read(Dialler, 1), Ok(Vec::new()));
    assert_eq!(bench.write(Dialler, b"y", 1), Written::Bytes(1), "nor the refusal");
    assert_eq!(bench.write(Dialler, b"z", 2), Written::Closed);
}

#[test]
fn a_machine_that_dies_says_nothing_until_it_runs_again() {
    let mut bench = Bench::new();
    bench.machine(2, Some(Down::Machine));
    bench.close(Listener, 0);
    assert_eq!(bench.read(Dialler, 100), Err(Read::Wait(None)), "half open");
    assert_eq!(bench.write(Dialler, b"x", 100), Written::Bytes(1));
    assert_eq!(bench.read(Dialler, 101), wait(301));
    assert_eq!(bench.read(Dialler, 301), wait(701));
    bench.machine(2, None);
    assert_eq!(bench.read(Dialler, 701), wait(702));
    assert_eq!(bench.read(Dialler, 702), Err(Read::Reset));
}

#[test]
fn what_a_machine_had_on_its_way_when_it_died_arrives_and_what_was_lost_does_not() {
    let mut bench = Bench::new();
    bench.write(Dialler, b"way", 0);
    bench.machine(1, Some(Down::Machine));
    bench.close(Dialler, 0);
    assert_eq!(bench.read(Listener, 1), Ok(b"way".to_vec()));
    assert_eq!(bench.read(Listener, 2), Err(Read::Wait(None)));

    let mut bench = Bench::new();
    bench.cut(true, 0);
    bench.write(Dialler, b"lost", 0);
    assert_eq!(bench.read(Listener, 1), wait(201));
    // The process closes it, and then its machine dies.
    bench.close(Dialler, 2);
    bench.machine(1, Some(Down::Machine));
    bench.connection.machine_died(addr(1).ip());
    bench.cut(false, 3);
    assert_eq!(bench.read(Listener, 1_000), Err(Read::Wait(None)));
}

#[test]
fn a_connection_that_stands_still_can_be_told_and_reset() {
    let mut bench = Bench::new();
    assert!(!bench.connection.stands_still());
    bench.cut(true, 0);
    bench.write(Dialler, b"x", 0);
    assert_eq!(bench.read(Listener, 1), wait(201));
    assert!(bench.connection.stands_still());
    assert!(bench.connection.is_between(addr(2).ip(), addr(1).ip()));
    assert!(!bench.connection.is_between(addr(2).ip(), addr(3).ip()));
    bench.cut(false, 3);
    bench.connection.resume(ms(4));
    assert_eq!(bench.read(Listener, 4), Ok(b"x".to_vec()));
    assert!(!bench.connection.stands_still());
    bench.connection.reset(ms(5));
    assert_eq!(bench.read(Listener, 5), Err(Read::Reset));
    assert_eq!(bench.write(Dialler, b"y", 5), Written::Closed);
}
