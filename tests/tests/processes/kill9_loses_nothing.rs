//! A process that is killed with `kill -9` takes no acknowledged commit with it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sessionmesh::SessionId;
use sessionmesh_testkit::processes::control::{Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{
    Attributes, Cluster, Line, MODES, PATIENCE, SetWhenDropped, attributes, check, eventually_blocking,
};
use tokio::time::Instant;

const SESSIONS: usize = 10_000;
/// So many writes are acknowledged before the kill, and so many after it.
const WRITES: usize = 1_000;

fn contents(sessions: usize) -> Vec<Attributes> {
    let content = |number| attributes([("user", &format!("user {number}")), ("cart", &format!("{number} apples"))]);
    (0..sessions).map(content).collect()
}

#[test]
fn every_attribute_of_every_acknowledged_commit_is_readable_on_the_survivors() {
    for mode in MODES {
        for ack in [Wish::Copies(1), Wish::Configured] {
            // Given three nodes, and sessions acknowledged on one of them
            let mut cluster = Cluster::start(&["a", "b", "c"], mode);
            let contents = contents(SESSIONS);
            let ids = cluster["a"].create(contents.clone(), ack);

            // When it is killed
            cluster.kill("a");

            // Then both others serve all of them, whole, at the next request
            let expected: Vec<_> = contents.into_iter().map(Loaded::Session).collect();
            let start = Instant::now();
            for node in cluster.nodes() {
                let unclear = node.serves(&ids, &expected);
                println!("{mode:?}, {ack:?}: {} serves {SESSIONS}; {unclear} at the second try", node.name());
            }
            println!("{mode:?}, {ack:?}: all read on two survivors after {:?}", start.elapsed());
        }
    }
}

/// What one writer knows of its sessions: what was acknowledged last, and what was tried after that.
type Known = BTreeMap<SessionId, (u64, u64)>;

/// Writes one session after the other, again and again, until told to stop or its node is gone.
fn write(line: &mut Line, ids: &[SessionId], ack: Wish, acknowledged: &AtomicUsize, stop: &AtomicBool) -> Known {
    let mut known: Known = ids.iter().map(|id| (*id, (0, 0))).collect();
    for number in 1.. {
        for id in ids {
            if stop.load(Ordering::Relaxed) {
                return known;
            }
            let entry = known.get_mut(id).expect("it is one of them");
            entry.1 = number;
            let number_text = number.to_string();
            let content = attributes([("n", &number_text), ("twin", &number_text)]);
            match line.ask::<Vec<Done>>(&Request::Write { writes: vec![(*id, content)], ack }) {
                Ok(done) if done[0].acknowledged().is_some() => {
                    entry.0 = number;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => return known,
            }
        }
    }
    known
}

/// Whether a session holds at least what was acknowledged, nothing that was never written, and both attributes alike.
fn is_right(loaded: &Loaded, (acknowledged, tried): (u64, u64)) -> bool {
    let Loaded::Session(content) = loaded else { return false };
    let number = content["n"].parse().expect("a number was written");
    content["n"] == content["twin"] && (acknowledged..=tried).contains(&number)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_kill_comes_in_the_midst_of_writes() {
    for mode in MODES {
        for ack in [Wish::Copies(1), Wish::Configured] {
            // Given three nodes, and two writers on each of them
            let mut cluster = Cluster::start(&["a", "b", "c"], mode);
            let first = attributes([("n", "0"), ("twin", "0")]);
            let writers: Vec<_> = ["a", "b", "c", "a", "b", "c"]
                .map(|name| (cluster[name].connect(), cluster[name].create(vec![first.clone(); 50], Wish::Configured)))
                .into();
            let (acknowledged, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
            let known = Mutex::new(Known::new());
            thread::scope(|scope| {
                let _stop_at_last = SetWhenDropped(&stop);
                for (mut line, ids) in writers {
                    let (known, acknowledged, stop) = (&known, &acknowledged, &stop);
                    scope.spawn(move || {
                        let written = write(&mut line, &ids, ack, acknowledged, stop);
                        known.lock().unwrap().extend(written);
                    });
                }
                let passed = |count| {
                    eventually_blocking(PATIENCE, || {
                        let now = acknowledged.load(Ordering::Relaxed);
                        check(now >= count, || format!("{now} of {count} writes acknowledged"))
                    })
                };
                passed(WRITES);
                // When one of them is killed while they write
                cluster.kill("a");
                let before = acknowledged.load(Ordering::Relaxed);
                // Then the others go on writing,
                let (took, ()) = passed(before + WRITES);
                println!("{mode:?}, {ack:?}: {before} writes before the kill, {WRITES} more {took:?} after it");
            });
            // and both survivors serve what was acknowledged: at once where all owners were waited for.
            let known = known.into_inner().unwrap();
            let ids: Vec<SessionId> = known.keys().copied().collect();
            for node in cluster.nodes() {
                let (took, ()) = eventually_blocking(PATIENCE, || {
                    let loaded = node.load(&ids);
                    let wrong: Vec<_> =
                        ids.iter().zip(&loaded).filter(|(id, loaded)| !is_right(loaded, known[id])).collect();
                    let first = wrong.first().map(|(id, loaded)| (loaded, known[id]));
                    let what =
                        || format!("{mode:?}, {ack:?}: {} wrong on {}, first {first:?}", wrong.len(), node.name());
                    let unclear = wrong.iter().all(|(_, loaded)| matches!(loaded, Loaded::CannotTell(_)));
                    assert!(unclear || ack != Wish::Configured, "{}", what());
                    check(wrong.is_empty(), what)
                });
                println!("{mode:?}, {ack:?}: {} serves all {} rightly after {took:?}", node.name(), ids.len());
            }
        }
    }
}
