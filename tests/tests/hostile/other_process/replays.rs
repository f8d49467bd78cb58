//! What two nodes said to each other, recorded and said again: to them, to another life of one of them, and with one byte
//! changed.

use std::sync::{Arc, Mutex};

use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh_testkit::processes::control::Figures;
use sessionmesh_testkit::processes::{PATIENCE, Process, eventually_blocking};
use sessionmesh_testkit::waiting::check;

use super::pair::{NAMES, Pair};
use super::relay::{Datagram, Orders, Passed, Plan, lock};
use crate::sealed::socket;
use crate::wire::throw;

/// So much of a connection is recorded: the handshake, pings, and batches with sessions.
const RECORDED_BYTES: usize = 6_000;
/// So many connections are recorded.
const CONNECTIONS: usize = 6;
const DATAGRAMS: usize = 60;

/// Records connections, and cuts each so that there is another one.
#[derive(Default)]
struct Recorder {
    records: bool,
    passed: Vec<Passed>,
}

impl Plan for Recorder {
    fn orders(&mut self) -> Orders {
        Orders { flip: None, cut_after: self.records.then_some(RECORDED_BYTES) }
    }

    fn passed(&mut self, passed: Passed) {
        if passed.said[0].len() > RECORDED_BYTES {
            self.passed.push(passed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_between_two_processes_counts_neither_there_nor_in_another_life() {
    let recorder = Arc::new(Mutex::new(Recorder::default()));
    let mut pair = Pair::start(recorder.clone()).await;
    lock(&recorder).records = true;
    pair.relay.cut_all();
    eventually_blocking(PATIENCE, || {
        pair.write();
        let (connections, datagrams) = (lock(&recorder).passed.len(), pair.relay.datagrams().len());
        let wrong = || format!("{connections} connections and {datagrams} datagrams are recorded");
        check(connections >= CONNECTIONS && datagrams >= DATAGRAMS, wrong)
    });
    lock(&recorder).records = false;
    pair.relay.cut_all();
    let connections = lock(&recorder).passed.clone();
    // While the two go on
    for (node, name) in NAMES.into_iter().enumerate() {
        let before = pair.cluster[name].stats();
        // A node that hears its own datagrams need not mind: it may be among its own seeds.
        let said: Vec<_> = pair.relay.datagrams().into_iter().filter(|(to, _)| *to == node).collect();
        let datagrams = say_again(&pair, node, &connections, &said).await;
        let expected = [("not_proven", connections.len()), ("replayed", datagrams / 2)];
        refuses(&pair.cluster[name], &before, &expected);
        pair.write();
    }
    pair.is_well();

    // and to another life of one of them, that has nobody to talk to.
    let (config, said) = (pair.config_of(1), pair.relay.datagrams());
    for name in NAMES {
        pair.cluster.kill(name);
    }
    let later = Process::spawn(config).started();
    later.ready();
    let before = later.stats();
    assert_eq!(before.bytes_decoded, 0, "nobody has talked to it");
    let datagrams = say_again(&pair, 1, &connections, &said).await;
    refuses(&later, &before, &[("not_proven", connections.len()), ("replayed", datagrams / 2)]);
    let flips = change_each_byte(&pair, &said, &later).await;
    let last = later.stats();
    println!("FIGURE {flips} flips; {:?}", last.refusals);
    assert_eq!((last.bytes_decoded, later.member_names()), (0, vec![NAMES[1].to_owned()]));
}

/// Says to one of the nodes again what was recorded. How many datagrams; of those some only ask who is there, which nobody can
/// refuse to answer who does not know whether it was asked before.
async fn say_again(pair: &Pair, node: usize, connections: &[Passed], said: &[Datagram]) -> usize {
    for connection in connections {
        let stream = TokioNetwork.connect(pair.relay.nodes()[node]).await.expect("it listens");
        let closed = throw(stream, &connection.said[0], PATIENCE).await;
        closed.unwrap_or_else(|error| panic!("what was said to {}: {error}", NAMES[connection.to]));
    }
    let stranger = socket().await;
    for (_, datagram) in said {
        pair.relay.send(node, datagram).await;
        stranger.send_to(datagram, pair.relay.nodes()[node]).await.expect("loopback takes it");
    }
    2 * said.len()
}

/// Sends one recorded datagram once for each of its bytes, with that byte changed, and waits until each is counted. How many.
async fn change_each_byte(pair: &Pair, said: &[Datagram], node: &Process) -> usize {
    let counted = || {
        let refusals = node.stats().refusals;
        ["forged", "unknown_secret", "plain_datagram"].iter().map(|reason| refusals[*reason]).sum::<u64>()
    };
    let before = counted();
    let (_, datagram) = said.iter().max_by_key(|(_, datagram)| datagram.len()).expect("some");
    for (at, _) in datagram.iter().enumerate() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x10;
        pair.relay.send(1, &changed).await;
        // The node's queue is short.
        if at % 32 == 31 || at == datagram.len() - 1 {
            let sent = at as u64 + 1;
            eventually_blocking(PATIENCE, || check(counted() - before >= sent, || format!("of {sent}: {}", counted())));
        }
    }
    datagram.len()
}

/// So many were counted since, for their reasons.
fn refuses(node: &Process, before: &Figures, expected: &[(&str, usize)]) {
    eventually_blocking(PATIENCE, || {
        let refusals = node.stats().refusals;
        expected.iter().try_for_each(|(reason, least)| {
            let counted = refusals[*reason] - before.refusals[*reason];
            check(counted >= *least as u64, || format!("{counted} are counted as {reason}, not {least}: {refusals:?}"))
        })
    });
}
