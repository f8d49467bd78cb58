//! Several seeds for each kind of fault, in each mode.

use sessionmesh_simulations::run::{check, play};
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};

const MODES: [Mode; 3] = [Mode::AllToAll, Mode::PrimaryBackup(1), Mode::PrimaryBackup(2)];

/// Seeds of each kind in each mode. `SIMULATION_SEEDS` asks for another number.
fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6)
}

fn all_modes(kind: Kind) {
    for mode in MODES {
        check(kind, mode, 0..seeds());
    }
}

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

#[test]
fn in_calm_everything_works() {
    all_modes(Kind::Calm);
}

#[test]
fn processes_die_and_start_again() {
    all_modes(Kind::Crash);
}

#[test]
fn machines_lose_power() {
    all_modes(Kind::PowerLoss);
}

#[test]
fn nodes_leave_as_planned() {
    all_modes(Kind::Leave);
}

#[test]
fn the_network_falls_apart_and_heals() {
    all_modes(Kind::Partition);
}

#[test]
fn links_fail_in_one_direction() {
    all_modes(Kind::OneWay);
}

#[test]
fn links_stand_still() {
    all_modes(Kind::Hold);
}

#[test]
fn a_node_is_cut_off_and_dies() {
    all_modes(Kind::IsolateThenCrash);
}

#[test]
fn anything_goes_wrong() {
    all_modes(Kind::Mixed);
}
