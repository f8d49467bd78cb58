//! A host with more to do than it has processors: nodes become ready, what they acknowledged is there, and they are slow
//! at worst.
//!
//! Two rounds; `MESHTEST_ROUNDS` sets another number.

use std::thread;
use std::time::Duration;

use sessionmesh::{Mode, SessionId};
use sessionmesh_testkit::busy::BusyThreads;
use sessionmesh_testkit::processes::control::{Attributes, Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{Cluster, Line, PATIENCE, attributes, check, eventually_blocking};
use sessionmesh_testkit::rounds::rounds;
use tokio::time::Instant;

const NAMES: [&str; 3] = ["a", "b", "c"];
const VISITORS: usize = 6;
/// Writes and reads of each visitor in a round.
const REQUESTS: usize = 30;
/// For each core.
const BUSY_THREADS: usize = 3;
/// Of a hundred requests on a busy host so many may fail, at most: other programs may make it busier still.
const FAILED_MAX: usize = 10;

/// Somebody with a session, on one node.
struct Visitor {
    line: Line,
    id: SessionId,
    /// The last write that was acknowledged.
    told: usize,
    asked: usize,
}

/// How long requests took, and how many failed.
#[derive(Default)]
struct Tally {
    took: Vec<Duration>,
    failed: Vec<String>,
}

impl Tally {
    fn percentile(&mut self, hundredths: usize) -> Duration {
        self.took.sort_unstable();
        self.took[(self.took.len() - 1) * hundredths / 100]
    }

    fn join(mut self, other: Self) -> Self {
        self.took.extend(other.took);
        self.failed.extend(other.failed);
        self
    }
}

impl Visitor {
    fn new(node: &sessionmesh_testkit::processes::Process) -> Self {
        Self { line: node.connect(), id: node.create_one(value(0)), told: 0, asked: 0 }
    }

    /// Writes and reads in turn. What is read is never older than what was acknowledged.
    fn works(&mut self) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..REQUESTS {
            self.asked += 1;
            let start = Instant::now();
            let writes = vec![(self.id, value(self.asked))];
            let done: Vec<Done> = self.line.ask(&Request::Write { writes, ack: Wish::Configured }).expect("it runs");
            tally.took.push(start.elapsed());
            match &done[0] {
                Done::Acknowledged(..) => self.told = self.asked,
                Done::Failed(_, why) => tally.failed.push(why.clone()),
            }
            let start = Instant::now();
            let loaded: Vec<Loaded> = self.line.ask(&Request::Load(vec![self.id])).expect("it runs");
            tally.took.push(start.elapsed());
            match &loaded[0] {
                Loaded::Session(found) => assert!(self.shows(found), "{found:?} after {}", self.told),
                Loaded::CannotTell(why) => tally.failed.push(why.clone()),
                Loaded::None => panic!("{} is lost", self.id),
            }
        }
        tally
    }

    /// Whether this is what was acknowledged last, or a write after it.
    fn shows(&self, found: &Attributes) -> bool {
        found["count"].parse::<usize>().is_ok_and(|count| (self.told..=self.asked).contains(&count))
    }
}

fn value(count: usize) -> Attributes {
    attributes([("count", &count.to_string())])
}

fn all_work(visitors: &mut [Visitor]) -> Tally {
    thread::scope(|scope| {
        let working: Vec<_> = visitors.iter_mut().map(|visitor| scope.spawn(|| visitor.works())).collect();
        working.into_iter().map(|one| one.join().expect("no visitor fails")).fold(Tally::default(), Tally::join)
    })
}

/// Every node shows each visitor what was acknowledged.
fn nothing_is_lost(cluster: &Cluster, visitors: &[Visitor], context: &str) {
    let ids: Vec<SessionId> = visitors.iter().map(|visitor| visitor.id).collect();
    for node in cluster.nodes() {
        eventually_blocking(PATIENCE, || {
            for (visitor, loaded) in visitors.iter().zip(node.load(&ids)) {
                match loaded {
                    Loaded::Session(found) => {
                        assert!(
                            visitor.shows(&found),
                            "{context}: {} shows {found:?} after {}",
                            node.name(),
                            visitor.told
                        );
                    }
                    Loaded::CannotTell(why) => check(false, || format!("{context}: {}: {why}", node.name()))?,
                    Loaded::None => panic!("{context}: {} has lost {}", node.name(), visitor.id),
                }
            }
            Ok(())
        });
    }
}

#[test]
fn on_a_busy_host_a_newcomer_becomes_ready_and_nothing_acknowledged_is_lost() {
    let rounds = rounds(2);
    // Given three nodes with visitors
    let mut cluster = Cluster::start(&NAMES, Mode::PrimaryBackup { backups: 1 });
    let mut visitors: Vec<_> =
        (0..VISITORS).map(|number| Visitor::new(&cluster[NAMES[number % NAMES.len()]])).collect();
    let mut before = all_work(&mut visitors);
    let mut slowest = Duration::ZERO;
    let (mut during, mut late_ms, mut said) = (Tally::default(), 0, 0);
    for round in 0..rounds {
        // When three threads for each core do nothing but compute, and a node joins
        let busy = BusyThreads::for_each_core(BUSY_THREADS);
        let start = Instant::now();
        cluster.launch("newcomer");
        during = during.join(all_work(&mut visitors));
        // Then it becomes ready,
        cluster["newcomer"].ready();
        slowest = slowest.max(start.elapsed());
        nothing_is_lost(&cluster, &visitors, &format!("busy, round {round}"));
        let figures: Vec<_> = cluster.nodes().iter().map(|node| node.stats()).collect();
        late_ms = late_ms.max(figures.iter().map(|figures| figures.late_ms).max().unwrap_or(0));
        said += figures.iter().filter(|figures| figures.busy).count();
        drop(busy);
        // and leaves without a loss.
        let left: usize = cluster["newcomer"].ask(&Request::Leave(30_000));
        assert_eq!(left, 0, "round {round}: not handed over");
        drop(cluster.take("newcomer"));
        cluster.settled();
        nothing_is_lost(&cluster, &visitors, &format!("after round {round}"));
    }
    let (requests, failed) = (during.took.len(), during.failed.len());
    println!(
        "{rounds} rounds, {requests} requests: {failed} failed, median {:?} (before {:?}), p99 {:?} (before {:?}), ready after {slowest:?} at most, {late_ms} ms late at most, {said} said that their host is busy",
        during.percentile(50),
        before.percentile(50),
        during.percentile(99),
        before.percentile(99),
    );
    assert!(failed * 100 <= requests * FAILED_MAX, "{failed} of {requests} failed, first {:?}", during.failed.first());
}
