//! Seed after seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use sessionmesh_simulations::scenario::{Kind, Scenario};

use super::arguments::{Named, kinds, minutes};
use super::batch::Batch;
use super::console::say;
use super::{Outcome, paths, real_time};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// For how long, if not for a number of seeds
    #[arg(long, value_parser = minutes, default_value = "1", conflicts_with = "seeds")]
    minutes: Duration,
    /// How many seeds
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed [default: one that nobody began with before]
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// Aim all seeds at one kind of faults
    #[arg(long, value_parser = kinds(), value_name = "KIND")]
    kind: Option<Kind>,
    /// Go on when a promise was broken
    #[arg(long)]
    keep_going: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let from = arguments.from.unwrap_or_else(real_time::seed_of_the_second);
    let started = real_time::now();
    let played = AtomicU64::new(0);
    let next = || {
        let number = played.fetch_add(1, Ordering::Relaxed);
        let over = match arguments.seeds {
            Some(seeds) => number >= seeds,
            None => started.elapsed() >= arguments.minutes,
        };
        let seed = from.wrapping_add(number);
        (!over).then(|| match arguments.kind {
            None => Named::drawn(seed),
            Some(kind) => Named::aimed(seed, kind, Scenario::draw(seed).mode),
        })
    };
    say(format_args!("seeds from {from} on"));
    let batch = Batch::new();
    batch.play(if arguments.keep_going { u64::MAX } else { 1 }, next);
    let tally = batch.tally();
    paths::tell(&tally);
    say(format_args!("the slowest cluster settled after {} ms", tally.slowest_settling_ms()));
    say(&tally);
    Ok(Outcome::from(tally.failed == 0))
}
