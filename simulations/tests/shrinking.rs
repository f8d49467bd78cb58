//! Scenarios are made as small as possible, with a test that is quicker than a run.

use std::num::NonZeroUsize;

use sessionmesh_simulations::scenario::{Fault, Kind, Mode, Scenario};
use sessionmesh_simulations::shrink::{Shrunk, cuts, shrink};

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

fn smallest(scenario: &Scenario, broken: impl Fn(&Scenario) -> bool + Sync) -> Shrunk {
    let promise = |candidate: &Scenario| broken(candidate).then_some("it holds");
    shrink(scenario, "it holds", promise, TWO, || false, |_| {})
}

/// Whether a node crashes while another one is cut off by one that is still there.
fn breaks(scenario: &Scenario) -> bool {
    scenario.episodes.iter().any(|episode| {
        let cut = episode.events.iter().position(|event| matches!(event.fault, Fault::Cut(..)));
        let crash = episode.events.iter().rposition(|event| matches!(event.fault, Fault::Crash(_)));
        cut.zip(crash).is_some_and(|(cut, crash)| cut < crash) && scenario.load.mix.write > 0
    })
}

#[test]
fn what_a_failure_needs_is_left_and_nothing_else() {
    let found = (0..).map(|seed| Scenario::aimed(seed, Kind::Mixed, Mode::PrimaryBackup(1))).find(breaks);
    let scenario = found.expect("there are many");
    let Shrunk { smallest: small, finished, .. } = smallest(&scenario, breaks);
    assert!(finished);
    assert_eq!((small.nodes, small.late, small.episodes.len()), (2, 0, 1), "{small}");
    let episode = &small.episodes[0];
    assert!(matches!(episode.events[..], [ref cut, ref crash]
        if matches!((&cut.fault, &crash.fault), (Fault::Cut(..), Fault::Crash(_)))));
    assert_eq!(episode.length_ms, 0, "{small}");
    assert_eq!((small.load.visitors, small.load.mix.sum()), (0, u64::from(small.load.mix.write)), "{small}");
    assert_eq!((small.network.latency_ms, small.set_back_ms, small.skew_ms), ((0, 0), 0, vec![0, 0]));
}

#[test]
fn the_result_does_not_depend_on_how_many_threads_there_are() {
    let scenario = Scenario::draw(249);
    let many_nodes = |scenario: &Scenario| (scenario.nodes >= 7).then_some("it holds");
    let with = |threads: usize| {
        let threads = NonZeroUsize::new(threads).expect("it is not zero");
        shrink(&scenario, "it holds", many_nodes, threads, || false, |_| {}).smallest
    };
    assert_eq!(with(1), with(3));
    assert_eq!(with(1).nodes, 7);
}

#[test]
fn another_broken_promise_is_another_failure() {
    let scenario = Scenario::draw(3);
    let other = |_: &Scenario| Some("it is dry");
    let shrunk = shrink(&scenario, "it holds", other, TWO, || false, |_| {});
    assert_eq!((shrunk.smallest, shrunk.kept), (scenario, 0));
}

#[test]
fn it_stops_when_told_to() {
    let shrunk = shrink(&Scenario::draw(3), "it holds", |_| Some("it holds"), TWO, || true, |_| {});
    assert_eq!((shrunk.tried, shrunk.finished), (0, false));
}

#[test]
fn all_candidates_can_be_written_and_played() {
    for seed in (0..100).chain([249]) {
        let scenario = Scenario::draw(seed);
        for (what, cut) in cuts::ALL {
            for candidate in cut(&scenario) {
                assert_ne!(candidate, scenario, "{what}");
                assert_eq!(candidate.to_string().parse(), Ok(candidate), "{what}");
            }
        }
    }
}
