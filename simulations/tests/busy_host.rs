//! Hosts so busy that whatever a node has to do waits for a processor for 100 or 150 ms: late is slow, not dead.

use std::collections::BTreeSet;
use std::rc::Rc;

use sessionmesh::{Mesh, SessionId};
use sessionmesh_simulations::cluster::Cluster;
use sessionmesh_simulations::entropy;
use sessionmesh_simulations::network::Trace;
use sessionmesh_simulations::record::Recorder;
use sessionmesh_simulations::scenario::{Ack, Discovery, Fault, IDLE_NEVER_MS, Kind, Mode, Network, Scenario, Streams};
use tokio::sync::oneshot::error::TryRecvError;

const NODES: usize = 3;
/// For so long a busy node runs, when it has waited for its turn.
const RUNS_MS: u64 = 10;
/// A busy node must be ready so long after its start, and all must be over so soon afterwards.
const WITHIN_MS: u64 = 5_000;
/// Requests on each node.
const ROUNDS: u8 = 40;

/// A cluster of which some nodes are busy.
struct Host {
    cluster: Cluster,
    /// They wait for so long, each time.
    busy: BTreeSet<usize>,
    late_ms: u64,
}

impl Host {
    /// A cluster of which `late` nodes are not there yet.
    fn new(mode: Mode, late: usize, late_ms: u64) -> Self {
        let mut scenario = Scenario::aimed(1, Kind::Calm, mode);
        (scenario.nodes, scenario.late, scenario.idle_ms, scenario.tick_ms) = (NODES, late, IDLE_NEVER_MS, 1);
        (scenario.discovery, scenario.ack, scenario.strict) = (Discovery::Multicast, Ack::Owners, false);
        scenario.later_mode = None;
        scenario.network = Network { latency_ms: (0, 2), lost: 0, doubled: 0, delayed: 0, streams: Streams::default() };
        entropy::seed_this_thread(scenario.seed);
        let cluster = Cluster::new(&Rc::new(scenario), Trace::default(), Recorder::default());
        Self { cluster, busy: BTreeSet::new(), late_ms }
    }

    /// A millisecond passes. The busy nodes run one after the other.
    fn step(&mut self) {
        let now = self.cluster.now_ms();
        for node in &self.busy {
            let runs = (now + *node as u64 * 50) % (self.late_ms + RUNS_MS) < RUNS_MS;
            self.cluster.inflict(&if runs { Fault::Thaw(*node) } else { Fault::Freeze(*node) });
        }
        self.cluster.step().expect("every node goes on");
    }

    /// Waits until `done`; how long that took.
    fn until(&mut self, what: &str, done: impl Fn(&Cluster) -> bool) -> u64 {
        let start = self.cluster.now_ms();
        while !done(&self.cluster) {
            let waited = self.cluster.now_ms() - start;
            assert!(waited < WITHIN_MS, "{what}: not after {waited} ms:{}", self.cluster.figures());
            self.step();
        }
        self.cluster.now_ms() - start
    }

    fn ask<T: 'static, F: Future<Output = T> + 'static>(
        &mut self,
        node: usize,
        job: impl FnOnce(Mesh) -> F + 'static,
    ) -> T {
        let mut answer = self.cluster.ask(node, job);
        let start = self.cluster.now_ms();
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Empty) => {
                    let waited = self.cluster.now_ms() - start;
                    assert!(
                        waited < WITHIN_MS,
                        "n{node} has not answered after {waited} ms:{}",
                        self.cluster.figures()
                    );
                    self.step();
                }
                Err(TryRecvError::Closed) => {
                    panic!("the request of n{node} ended without an answer:{}", self.cluster.figures())
                }
            }
        }
    }

    /// A node makes a session, which must get its copies.
    fn makes(&mut self, node: usize, round: u8) -> SessionId {
        let made = self.ask(node, move |mesh| async move {
            let session = mesh.create().await.expect("far from full");
            session.insert("round", &round).expect("a number is JSON");
            session.commit().await.map(|commit| (commit.id, commit.copies))
        });
        let (id, copies) = made.unwrap_or_else(|error| panic!("n{node}, round {round}: {error}"));
        assert!(copies > 0, "n{node}, round {round}");
        id
    }

    /// Each node makes sessions, and others read them and miss what there is not: nothing may fail.
    fn works(&mut self) {
        for (round, node) in (0..ROUNDS).flat_map(|round| (0..NODES).map(move |node| (round, node))) {
            let id = self.makes(node, round);
            let reader = (node + 1) % NODES;
            let read = self.ask(reader, move |mesh| async move {
                mesh.load(id).await.map(|session| session.and_then(|session| session.get::<u8>("round").ok()?))
            });
            assert_eq!(read.expect("it can tell"), Some(round), "n{reader}");
            // An id like those of sessions that were never committed.
            let unknown = self.ask(node, |mesh| async move { mesh.create().await.expect("far from full").id() });
            let missed =
                self.ask(reader, move |mesh| async move { mesh.load(unknown).await.map(|found| found.is_none()) });
            assert!(missed.unwrap_or_else(|error| panic!("n{reader}, round {round}: {error}")));
        }
        for (name, stats) in self.cluster.stats() {
            assert_eq!((stats.commit_timeouts, stats.cannot_tell, stats.suspicions), (0, 0, 0), "{name}: {stats:?}");
        }
    }

    /// Which nodes say that their host is too busy.
    fn say_so(cluster: &Cluster) -> BTreeSet<usize> {
        let stats = cluster.stats();
        stats.iter().enumerate().filter(|(_, (_, stats))| stats.busy).map(|(node, _)| node).collect()
    }
}

/// In a thread of its own, which is what makes it repeat.
fn alone(test: fn(Mode)) {
    for mode in [Mode::AllToAll, Mode::PrimaryBackup(1)] {
        std::thread::spawn(move || test(mode)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

#[test]
fn a_node_whose_beats_all_come_late_becomes_ready_serves_and_says_that_its_host_is_busy() {
    alone(|mode| {
        let mut host = Host::new(mode, 1, 150);
        host.until("the others are ready", |cluster| cluster.unrest().is_none());
        host.cluster.inflict(&Fault::Start(2));
        host.busy.insert(2);
        let took = host.until("all are ready", |cluster| cluster.unready().is_none());
        println!("{mode}: ready after {took} ms");
        host.works();
        assert_eq!(Host::say_so(&host.cluster), BTreeSet::from([2]), "{}", host.cluster.figures());
        host.busy.clear();
        host.cluster.heal();
        host.until("it is over", |cluster| Host::say_so(cluster).is_empty());
    });
}

#[test]
fn a_cluster_on_one_busy_host_becomes_ready_and_serves() {
    alone(|mode| {
        let mut host = Host::new(mode, 0, 100);
        host.busy.extend(0..NODES);
        host.until("all are ready", |cluster| cluster.unready().is_none());
        host.works();
        assert_eq!(Host::say_so(&host.cluster).len(), NODES, "{}", host.cluster.figures());
    });
}

/// Here a message and its answer take longer than a lease lasts, so nobody can say that there is no such session.
#[test]
fn a_cluster_on_an_even_busier_host_becomes_ready_and_commits() {
    alone(|mode| {
        let mut host = Host::new(mode, 0, 150);
        host.busy.extend(0..NODES);
        host.until("all are ready", |cluster| cluster.unready().is_none());
        for (round, node) in (0..ROUNDS).flat_map(|round| (0..NODES).map(move |node| (round, node))) {
            host.makes(node, round);
        }
    });
}
