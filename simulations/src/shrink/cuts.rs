//! The ways in which a scenario can be made smaller: each gives candidates, those that take most away first.
//!
//! All candidates can be played, and each is smaller by some measure, so that cutting ends.

use std::ops::Range;

use crate::scenario::product::{Extra, Product};
use crate::scenario::{Ack, Discovery, Episode, Event, Fault, IDLE_NEVER_MS, Mix, Scenario};

/// One way of cutting.
pub type Cut = fn(&Scenario) -> Vec<Scenario>;

/// All of them, with what they take away, in the order in which they are tried: the most expensive things first, since
/// then all later candidates are quick to play.
pub const ALL: [(&str, Cut); 8] = [
    ("episodes", episodes),
    ("moments", moments),
    ("faults", faults),
    ("nodes", nodes),
    ("clients", clients),
    ("settings", settings),
    ("sizes", sizes),
    ("times", times),
];

/// Ranges to take away of `length` things: all, halves, quarters, and so on to single ones, the last ones first.
fn ranges(length: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut size = length;
    while size > 0 {
        let starts = (0..length).step_by(size).rev();
        ranges.extend(starts.map(|start| start..(start + size).min(length)));
        size /= 2;
    }
    ranges
}

/// Copies of `scenario`, each changed by one of the `changes`; none that are as before, or cannot be played.
fn changed<'a>(scenario: &Scenario, changes: impl IntoIterator<Item = Change<'a>>) -> Vec<Scenario> {
    let candidates = changes.into_iter().map(|change| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        candidate
    });
    candidates.filter(|candidate| candidate != scenario && candidate.validate().is_ok()).collect()
}

type Change<'a> = Box<dyn Fn(&mut Scenario) + 'a>;

fn episodes(scenario: &Scenario) -> Vec<Scenario> {
    let changes = ranges(scenario.episodes.len()).into_iter().map(|range| -> Change<'_> {
        Box::new(move |candidate| {
            candidate.episodes.drain(range.clone());
        })
    });
    changed(scenario, changes)
}

/// All that happens at one moment belongs together: a partition is several cuts.
fn moments(scenario: &Scenario) -> Vec<Scenario> {
    let mut moments: Vec<(usize, u64)> = Vec::new();
    for (number, episode) in scenario.episodes.iter().enumerate() {
        moments.extend(episode.events.iter().map(|event| (number, event.at_ms)));
    }
    moments.dedup();
    let moments = &moments;
    let changes = ranges(moments.len()).into_iter().map(|range| -> Change<'_> {
        Box::new(move |candidate| {
            let gone = &moments[range.clone()];
            for (number, episode) in candidate.episodes.iter_mut().enumerate() {
                episode.events.retain(|event| !gone.contains(&(number, event.at_ms)));
            }
        })
    });
    changed(scenario, changes)
}

fn faults(scenario: &Scenario) -> Vec<Scenario> {
    let number = scenario.episodes.iter().map(|episode| episode.events.len()).sum();
    let changes = ranges(number).into_iter().map(|range| -> Change<'_> {
        Box::new(move |candidate| {
            let mut at = 0..;
            for episode in &mut candidate.episodes {
                episode.events.retain(|_| !at.next().is_some_and(|at| range.contains(&at)));
            }
        })
    });
    changed(scenario, changes)
}

/// Faults of a node go with it.
fn nodes(scenario: &Scenario) -> Vec<Scenario> {
    let changes = ranges(scenario.nodes).into_iter().map(|gone| -> Change<'_> {
        Box::new(move |candidate| {
            // The late ones are the last ones.
            let first_late = candidate.nodes - candidate.late;
            candidate.late -= gone.clone().filter(|node| *node >= first_late).count();
            candidate.nodes -= gone.len();
            if gone.end <= candidate.skew_ms.len() {
                candidate.skew_ms.drain(gone.clone());
            }
            let renumber = |node: usize| match node {
                node if gone.contains(&node) => None,
                node if node >= gone.end => Some(node - gone.len()),
                node => Some(node),
            };
            for episode in &mut candidate.episodes {
                let events = std::mem::take(&mut episode.events).into_iter();
                let renumbered = |event: Event| Some(Event { fault: event.fault.renumbered(renumber)?, ..event });
                episode.events = events.filter_map(renumbered).collect();
            }
        })
    });
    changed(scenario, changes)
}

fn clients(scenario: &Scenario) -> Vec<Scenario> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    let (visitors, tabs) = (scenario.load.visitors, scenario.load.tabs);
    for fewer in [0, 1, visitors / 2, visitors.saturating_sub(1)].into_iter().filter(|fewer| *fewer < visitors) {
        changes.push(Box::new(move |candidate| candidate.load.visitors = fewer));
    }
    for fewer in [1, tabs / 2, tabs.saturating_sub(1)].into_iter().filter(|fewer| *fewer < tabs) {
        changes.push(Box::new(move |candidate| candidate.load.tabs = fewer));
    }
    changes.push(Box::new(|candidate| {
        let Mix { read, write, .. } = candidate.load.mix;
        candidate.load.mix = Mix { read, write, ..NOTHING };
    }));
    for weight in WEIGHTS {
        changes.push(Box::new(move |candidate| *weight(&mut candidate.load.mix) = 0));
    }
    changes.push(Box::new(|candidate| candidate.load.value_bytes = 0));
    changed(scenario, changes)
}

const NOTHING: Mix =
    Mix { read: 0, write: 0, slow_write: 0, shared: 0, count: 0, remove: 0, logout: 0, renew: 0, absent: 0, keep: 0 };

/// The weights of a mix, the rare requests first.
const WEIGHTS: [fn(&mut Mix) -> &mut u32; 10] = [
    |mix| &mut mix.keep,
    |mix| &mut mix.absent,
    |mix| &mut mix.renew,
    |mix| &mut mix.logout,
    |mix| &mut mix.remove,
    |mix| &mut mix.count,
    |mix| &mut mix.shared,
    |mix| &mut mix.slow_write,
    |mix| &mut mix.write,
    |mix| &mut mix.read,
];

/// What is not as it would be in the simplest of all clusters.
fn settings(scenario: &Scenario) -> Vec<Scenario> {
    let mut changes: Vec<Change<'_>> = vec![
        Box::new(|candidate| {
            let network = &mut candidate.network;
            (network.lost, network.doubled, network.delayed) = (0, 0, 0);
        }),
        Box::new(|candidate| candidate.network.lost = 0),
        Box::new(|candidate| candidate.network.doubled = 0),
        Box::new(|candidate| candidate.network.delayed = 0),
        Box::new(|candidate| candidate.skew_ms.fill(0)),
        Box::new(|candidate| candidate.set_back_ms = 0),
        Box::new(|candidate| candidate.late = 0),
        Box::new(|candidate| candidate.later_mode = None),
        Box::new(|candidate| {
            candidate.idle_ms = IDLE_NEVER_MS;
            candidate.load.mix.absent = 0;
        }),
        Box::new(|candidate| candidate.strict = false),
        Box::new(|candidate| candidate.secret = false),
        Box::new(|candidate| candidate.certificates = false),
        Box::new(|candidate| candidate.upgrade = false),
        Box::new(|candidate| candidate.product = Product::default()),
        Box::new(|candidate| candidate.product.hang_ups = 0),
        Box::new(|candidate| {
            (candidate.product.share, candidate.product.mix) = (0, Extra::default());
        }),
        Box::new(|candidate| {
            candidate.product = Product { mix: candidate.product.mix, ..only_asked(&candidate.product) }
        }),
        Box::new(|candidate| candidate.product.sessions_per_user = 0),
        Box::new(|candidate| candidate.discovery = Discovery::Seeds),
        Box::new(|candidate| candidate.ack = Ack::Owners),
    ];
    // A network without any delay is the last step: each candidate must be smaller than the one before.
    for latency in [(0, 0), (1, 1)] {
        if scenario.network.latency_ms.1 > latency.1 {
            changes.push(Box::new(move |candidate| candidate.network.latency_ms = latency));
        }
    }
    for node in 0..scenario.skew_ms.len() {
        changes.push(Box::new(move |candidate| candidate.skew_ms[node] = 0));
    }
    changed(scenario, changes)
}

/// Without settings, but for those that what visitors ask for needs.
fn only_asked(product: &Product) -> Product {
    let Product { users, max_value_bytes, share, hang_ups, .. } = *product;
    Product { users, max_value_bytes, share, hang_ups, ..Product::default() }
}

/// How much of a fault there is, halved.
fn sizes(scenario: &Scenario) -> Vec<Scenario> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for (number, episode) in scenario.episodes.iter().enumerate() {
        for (at, event) in episode.events.iter().enumerate() {
            let halved = match event.fault {
                Fault::Slow(one, other, ms) => Fault::Slow(one, other, ms / 2),
                Fault::LoseDatagrams(lost) => Fault::LoseDatagrams(lost / 2),
                Fault::Jump(node, ms) => Fault::Jump(node, ms / 2),
                Fault::Burst(node, sessions) => Fault::Burst(node, sessions / 2),
                _ => continue,
            };
            changes.push(Box::new(move |candidate| candidate.episodes[number].events[at].fault = halved.clone()));
        }
    }
    changes.push(Box::new(|candidate| candidate.set_back_ms /= 2));
    changed(scenario, changes)
}

/// Shorter episodes, and shorter gaps between what happens; then rounder numbers.
fn times(scenario: &Scenario) -> Vec<Scenario> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for (number, episode) in scenario.episodes.iter().enumerate() {
        let gaps = gaps(episode);
        for (at, gap) in gaps.iter().copied().enumerate() {
            let round = |to: u64| gap - gap % to;
            let mut shorter = vec![0, gap / 2, round(1_000), round(100), round(10)];
            shorter.retain(|shorter| *shorter < gap);
            shorter.dedup();
            for shorter in shorter {
                let mut gaps = gaps.clone();
                gaps[at] = shorter;
                changes.push(Box::new(move |candidate| set_gaps(&mut candidate.episodes[number], &gaps)));
            }
        }
    }
    changed(scenario, changes)
}

/// The times between events; the last one is that from the last event to the end.
fn gaps(episode: &Episode) -> Vec<u64> {
    let times = episode.events.iter().map(|event| event.at_ms).chain([episode.length_ms]);
    let mut last = 0;
    times.map(|at| at.saturating_sub(std::mem::replace(&mut last, at))).collect()
}

fn set_gaps(episode: &mut Episode, gaps: &[u64]) {
    let mut at = 0;
    let mut times = gaps.iter().map(|gap| {
        at += gap;
        at
    });
    for event in &mut episode.events {
        event.at_ms = times.next().unwrap_or(event.at_ms);
    }
    episode.length_ms = times.next().unwrap_or(episode.length_ms);
}
