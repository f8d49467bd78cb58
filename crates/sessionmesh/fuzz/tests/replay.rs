//! Each target on each of its seeds, and on mutations of them. `FUZZ_MUTATIONS` says on how many, 4,000 unless it is set.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use sessionmesh_fuzz::mutation::Mutations;
use sessionmesh_fuzz::{Outcome, Target, targets};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn seeds_of(target: &Target) -> Vec<Vec<u8>> {
    let folder = folder("corpus").join(target.name);
    let seeds = names_in(&folder).into_iter().filter(|name| name.starts_with("seed-"));
    seeds.map(|name| fs::read(folder.join(name)).expect("a seed")).collect()
}

/// Runs it, and says with what if it fails.
fn run(target: &Target, bytes: &[u8], from: &str) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| target.run(bytes))).unwrap_or_else(|panic| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{} broke a promise with {from}: {hex}", target.name);
        resume_unwind(panic)
    })
}

fn replay(target: &Target) {
    let seeds = seeds_of(target);
    let outcomes = seeds.iter().enumerate().map(|(at, seed)| run(target, seed, &format!("seed {at}")));
    let read = outcomes.filter(|outcome| *outcome == Outcome::Read).count();
    assert!(read * 2 >= seeds.len(), "of {} seeds of {} it reads only {read}", seeds.len(), target.name);
    let count = std::env::var("FUZZ_MUTATIONS").map_or(4_000, |count| count.parse().expect("a number"));
    let mut mutations = Mutations::new(1);
    for number in 0..count {
        let (seed, other) = (&seeds[number % seeds.len()], &seeds[number / seeds.len() % seeds.len()]);
        let _ = run(target, &mutations.of(seed, other), &format!("mutation {number}"));
    }
}

#[test]
fn each_target_has_a_program_and_seeds_and_is_replayed() {
    let names: BTreeSet<String> = targets::ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), targets::ALL.len());
    assert_eq!(names, REPLAYED.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(names, names_in(&folder("corpus")));
    assert_eq!(names_in(&folder("fuzz_targets")), names.iter().map(|name| format!("{name}.rs")).collect());
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the manifest");
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
}

macro_rules! replayed {
    ($($name:ident),* $(,)?) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { replay(&targets::$name::TARGET); })*
    };
}

replayed!(
    beacon,
    config_env,
    config_file,
    cookies,
    datagram,
    datagrams,
    fragments,
    frames,
    gossip_guard,
    link_accept,
    link_dial,
    message,
    record,
    secret,
    secret_file,
    session_id,
    terms,
);
