//! The mistakes are found, and the right rules are kept, in bounds that take seconds.

use std::time::Duration;

use sessionmesh_model::bounds::{self, Bounds};
use sessionmesh_model::check::check;
use sessionmesh_model::mesh::Mesh;
use sessionmesh_model::mistakes::Mistake;

const MOST: Duration = Duration::from_secs(600);

#[test]
fn each_mistake_breaks_a_promise() {
    for mistake in Mistake::all() {
        let outcome = mistake.look_for(2, MOST);
        assert!(outcome.broken.is_some(), "{} was not found in {} states", mistake.name, outcome.states);
    }
}

#[test]
fn the_rules_keep_all_promises() {
    for bounds in bounds::ALL {
        let depth_max = if bounds.depth_max == 0 { 12 } else { bounds.depth_max.min(12) };
        let outcome = check(Mesh::new(Bounds { depth_max, ..*bounds }, None), 2, MOST);
        let steps: Vec<_> =
            outcome.broken.iter().flat_map(|(_, steps)| steps).map(|(step, _)| step.to_string()).collect();
        assert!(outcome.broken.is_none(), "{}: {steps:#?}", bounds.name);
        assert!(!outcome.unfinished, "{}: {} states in {:?}", bounds.name, outcome.states, outcome.took);
    }
}

#[test]
fn the_same_states_are_found_each_time() {
    let bounds = bounds::named("crash").expect("there is one");
    let states = |threads| check(Mesh::new(bounds, None), threads, MOST).states;
    assert_eq!(states(1), states(2));
}

#[test]
fn the_steps_to_a_broken_promise_are_told_in_words() {
    let mistake = Mistake::named("stalled-owner-answers").expect("it is planted");
    let (_, steps) = mistake.look_for(1, MOST).broken.expect("it is found");
    let told: Vec<_> = steps.iter().map(|(step, _)| step.to_string()).collect();
    assert!(told.iter().any(|step| step.starts_with("STALL of ")), "{told:#?}");
}
