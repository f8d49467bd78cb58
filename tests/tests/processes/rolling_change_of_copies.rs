//! `backups` and `mode` change by a rolling restart while visitors write, read elsewhere and log out: what was
//! acknowledged shows at once on every node, nothing that was ended is served, and nothing is lost.
//!
//! `MESHTEST_ROUNDS` plays so many rounds, each of two deploys; 2 by default.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::de::DeserializeOwned;
use sessionmesh::{Config, Mode, SessionId};
use sessionmesh_testkit::processes::control::{Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{
    Cluster, Line, PATIENCE, Process, SetWhenDropped, attributes, check, eventually_blocking,
};
use sessionmesh_testkit::rounds::rounds;
use tokio::time::Instant;

const NAMES: [&str; 3] = ["a", "b", "c"];
const VISITORS: u64 = 4;
/// Sessions that a visitor has at a time.
const SESSIONS: usize = 20;
const ANSWER: Duration = Duration::from_secs(20);
/// Far more than a hand-over takes, for a machine that is busy with other things.
const LEAVE_MS: u64 = 45_000;
/// Before the next node is restarted visitors have read so often.
const READS_BETWEEN: usize = 300;

/// Where visitors come in.
#[derive(Default)]
struct Doors {
    /// The connections that are free, by node. A node without an entry takes no visitors.
    open: Mutex<BTreeMap<&'static str, Vec<Line>>>,
    reads: AtomicUsize,
}

impl Doors {
    fn open(&self, name: &'static str, node: &Process) {
        let lines = (0..2 * VISITORS).map(|_| node.connect()).collect();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(name, lines);
    }

    fn close(&self, name: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Asks any node. None if it went away before it answered.
    fn ask<T: DeserializeOwned>(&self, rng: &mut StdRng, request: &Request) -> Option<(&'static str, T)> {
        let (name, mut line) = {
            let mut doors = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let (name, lines) = doors.iter_mut().choose(rng).expect("two nodes are always there");
            (*name, lines.pop().expect("two for each visitor"))
        };
        line.send(request).ok()?;
        let answer = line.receive(ANSWER).ok()?;
        if let Some(lines) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            lines.push(line);
        }
        Some((name, answer))
    }
}

/// What visitors know for certain, and what they saw that must not be.
#[derive(Debug, Default)]
struct Seen {
    live: BTreeMap<SessionId, u32>,
    ended: Vec<SessionId>,
    writes: usize,
    reads: usize,
    logouts: usize,
    wrong: Vec<String>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.live.extend(other.live);
        self.ended.extend(other.ended);
        self.wrong.extend(other.wrong);
        self.writes += other.writes;
        self.reads += other.reads;
        self.logouts += other.logouts;
    }

    fn read(&mut self, doors: &Doors, rng: &mut StdRng, id: SessionId, expected: &Loaded, written_on: &str) {
        let Some((name, loaded)) = doors.ask::<Vec<Loaded>>(rng, &Request::Load(vec![id])) else { return };
        self.reads += 1;
        doors.reads.fetch_add(1, Ordering::Relaxed);
        if loaded[0] != *expected && !matches!(loaded[0], Loaded::CannotTell(_)) {
            let found = &loaded[0];
            self.wrong.push(format!("{id} on {name}: {found:?}, after {expected:?} was acknowledged on {written_on}"));
        }
    }
}

fn content(number: u32) -> Loaded {
    Loaded::Session(attributes([("n", &number.to_string())]))
}

/// One visitor: each session is changed on one node and read on another one, again and again, and ended some day.
fn visit(doors: &Doors, seed: u64, stop: &AtomicBool) -> Seen {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        if seen.live.len() < SESSIONS {
            let request = Request::Create { sessions: vec![attributes([("n", "0")])], ack: Wish::Configured };
            if let Some((_, done)) = doors.ask::<Vec<Done>>(&mut rng, &request)
                && let Some(id) = done[0].acknowledged()
            {
                seen.live.insert(id, 0);
            }
            continue;
        }
        let (&id, &number) = seen.live.iter().choose(&mut rng).expect("there are some");
        // Until it is acknowledged again it is not known what the session holds.
        seen.live.remove(&id);
        if rng.random_bool(0.2) {
            let Some((name, done)) = doors.ask::<Vec<Done>>(&mut rng, &Request::Invalidate(vec![id])) else { continue };
            if done[0].acknowledged().is_some() {
                seen.logouts += 1;
                seen.ended.push(id);
                seen.read(doors, &mut rng, id, &Loaded::None, name);
            }
            continue;
        }
        let next = attributes([("n", &(number + 1).to_string())]);
        let request = Request::Write { writes: vec![(id, next)], ack: Wish::Configured };
        match doors.ask::<Vec<Done>>(&mut rng, &request) {
            Some((name, done)) if done[0].acknowledged().is_some() => {
                seen.writes += 1;
                seen.live.insert(id, number + 1);
                seen.read(doors, &mut rng, id, &content(number + 1), name);
            }
            Some((name, done)) if format!("{done:?}").contains("no such session") => {
                seen.wrong.push(format!("{id} on {name}: lost"));
            }
            _ => {}
        }
    }
    seen
}

/// Restarts each node in turn with other settings, as an operator does: the next one when the last one is ready.
fn deploy(cluster: &mut Cluster, doors: &Doors, set: impl Fn(&mut Config)) {
    for name in NAMES {
        let start = Instant::now();
        let left: usize = cluster[name].ask(&Request::Leave(LEAVE_MS));
        assert_eq!(
            left,
            0,
            "{name} did not hand over all it had in {:?}: {:#?}",
            start.elapsed(),
            cluster[name].stats()
        );
        doors.close(name);
        drop(cluster.take(name));
        let mut config = cluster.config_of(name);
        set(&mut config);
        let node = cluster.add(Process::spawn(config).started());
        eventually_blocking(PATIENCE, || check(node.is_ready(), || format!("{name} is not ready")));
        doors.open(name, node);
        let before = doors.reads.load(Ordering::Relaxed);
        eventually_blocking(PATIENCE, || {
            let reads = doors.reads.load(Ordering::Relaxed) - before;
            check(reads >= READS_BETWEEN, || format!("visitors have read {reads} times"))
        });
    }
}

/// Everything is where it belongs, with what it held, and what was ended is nowhere.
fn look_at_all(cluster: &Cluster, seen: &Seen, deploys: &str) {
    assert!(
        seen.wrong.is_empty(),
        "{deploys}: {} wrong answers, first {:#?}",
        seen.wrong.len(),
        seen.wrong.iter().take(20)
    );
    cluster.settled();
    let ids: Vec<SessionId> = seen.live.keys().copied().collect();
    let expected: Vec<Loaded> = seen.live.values().map(|number| content(*number)).collect();
    cluster.placed(&ids);
    for node in cluster.nodes() {
        node.serves(&ids, &expected);
        node.serves(&seen.ended, &vec![Loaded::None; seen.ended.len()]);
    }
}

#[test]
fn a_rolling_restart_that_changes_the_number_of_copies_keeps_every_promise() {
    let rounds = rounds(2);
    // Given three nodes with one backup each
    let mut cluster = Cluster::start_with(&NAMES, |config| {
        config.mode = Mode::PrimaryBackup { backups: 1 };
        // Nodes that answer each other later than that are as good as cut off, and then reads may be old.
        config.commit_deadline = Duration::from_secs(3);
        config.read_deadline = Duration::from_secs(3);
    });
    let mut all = Seen::default();
    for round in 0..rounds as u64 {
        let (doors, stop) = (Doors::default(), AtomicBool::new(false));
        for name in NAMES {
            doors.open(name, &cluster[name]);
        }
        let seen = thread::scope(|scope| {
            let (doors, stop) = (&doors, &stop);
            let stop_them = SetWhenDropped(stop);
            let visitors: Vec<_> = (0..VISITORS)
                .map(|visitor| scope.spawn(move || visit(doors, round * VISITORS + visitor, stop)))
                .collect();
            // when all of them are given more copies, and then fewer again, while visitors come and go,
            deploy(&mut cluster, doors, |config| {
                config.mode = if round % 2 == 0 { Mode::PrimaryBackup { backups: 2 } } else { Mode::AllToAll };
            });
            deploy(&mut cluster, doors, |_| ());
            drop(stop_them);
            let mut seen = Seen::default();
            visitors.into_iter().for_each(|visitor| seen.add(visitor.join().expect("no visitor fails")));
            seen
        });
        // then no answer was wrong, and nothing is lost.
        println!("round {round}: {} writes, {} logouts, {} reads elsewhere", seen.writes, seen.logouts, seen.reads);
        look_at_all(&cluster, &seen, &format!("round {round}"));
        all.add(Seen { live: BTreeMap::new(), ended: Vec::new(), ..seen });
    }
    println!("{rounds} rounds: {} writes, {} logouts, {} reads elsewhere", all.writes, all.logouts, all.reads);
}
