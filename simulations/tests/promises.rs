//! What `cargo run --release -- check` relies on, and a few seeds of each kind of fault.

use sessionmesh_simulations::run::{failure, play};
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};

const MODES: [Mode; 3] = [Mode::AllToAll, Mode::PrimaryBackup(1), Mode::PrimaryBackup(2)];

/// First of all: no seed is believed before a run can be repeated.
#[test]
fn a_seed_decides_everything() {
    for (kind, _) in Kind::ALL {
        let scenario = Scenario::aimed(7, kind, Mode::PrimaryBackup(1));
        let (one, other) = (play(&scenario), play(&scenario));
        assert_eq!(one.trace, other.trace, "{scenario}");
        assert!(one.trace.1 > 100, "something happened");
    }
    let (one, other) = (Scenario::draw(1), Scenario::draw(2));
    assert_ne!(play(&one).trace, play(&other).trace);
}

/// One seed of each kind in each mode. `check` plays many more.
#[test]
fn no_promise_is_broken() {
    for (kind, _) in Kind::ALL {
        for mode in MODES {
            let scenario = Scenario::aimed(0, kind, mode);
            if let Some(violation) = play(&scenario).violation {
                panic!("{}", failure(&scenario, &violation));
            }
        }
    }
}
