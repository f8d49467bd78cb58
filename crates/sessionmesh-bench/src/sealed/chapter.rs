//! What is told about the cost of a secret.

use super::{BYTES, IDLE_NODES, VARIANTS, name};
use crate::http::system::System;
use crate::http::workload::{CONNECTIONS, Workload};
use crate::join;
use crate::report::{Bound, Chapter, Figures, Goal, Table};

const GOALS: [Goal; 4] = [
    Goal {
        what: "with a secret to without: commits, 2 nodes, Copies(1), 256 B, 64 writers",
        unit: "",
        bound: Bound::AtLeast(0.90),
        value: |figures| ratio(figures, |variant| name("commits/64/rate", variant)),
    },
    Goal {
        what: "with a secret to without: writes over HTTP",
        unit: "",
        bound: Bound::AtLeast(0.95),
        value: |figures| ratio(figures, |variant| over_http("rate", variant)),
    },
    Goal {
        what: "with a secret to without: 100,000 sessions of 1 KiB to a newcomer, sessions per second",
        unit: "",
        bound: Bound::AtLeast(0.85),
        value: |figures| ratio(figures, |variant| name("join/rate", variant)),
    },
    Goal {
        what: "with a secret to without: idle, 10 nodes, processor time of a node at the median",
        unit: "",
        bound: Bound::AtMost(1.1),
        value: |figures| ratio(figures, |variant| name("idle/median", variant)),
    },
];

/// How figures are named that the part over HTTP notes.
fn over_http(what: &str, variant: &'static str) -> String {
    Workload::WRITE.figure(&System { name: variant, ..System::MESH_LAYER }, what)
}

/// How a figure of a variant is named.
type Name = fn(&'static str) -> String;

fn ratio(figures: &Figures, name: Name) -> Option<f64> {
    let [without, with] = VARIANTS.map(name);
    figures.ratio(&with, &without)
}

pub(super) fn of(figures: &Figures) -> Chapter {
    let how = format!(
        "The same build, started in the same way, with a secret and without; all nodes are processes on loopback. Both \
         variants run, and are measured in turns, each the first in every other round. {} Commits: two nodes, `Copies(1)`, {BYTES} \
         bytes. Writes over HTTP: the own layer on two nodes, {} connections, as in that chapter. Join: a second node \
         gets all {} sessions of {} bytes from the first, all-to-all, from when it is seen until it is ready. CPU is \
         that of all nodes, for one commit, one request, or one join from the start of the newcomer's process. Idle: \
         {IDLE_NODES} nodes of each variant within the same windows.",
        Table::HOW_TWO_ARE_COMPARED,
        CONNECTIONS[0],
        join::SESSIONS,
        join::BYTES,
    );
    let rows: [(&str, &str, usize, Name); 11] = [
        ("commits, 64 writers", "commits/s", 0, |variant| name("commits/64/rate", variant)),
        ("p50", "us", 1, |variant| name("commits/64/p50", variant)),
        ("CPU", "us", 2, |variant| name("commits/64/cpu", variant)),
        ("commits, one writer", "commits/s", 0, |variant| name("commits/1/rate", variant)),
        ("p50", "us", 1, |variant| name("commits/1/p50", variant)),
        ("CPU", "us", 2, |variant| name("commits/1/cpu", variant)),
        ("writes over HTTP", "requests/s", 0, |variant| over_http("rate", variant)),
        ("CPU", "us", 1, |variant| over_http("cpu", variant)),
        ("join", "sessions/s", 0, |variant| name("join/rate", variant)),
        ("CPU", "ms", 0, |variant| name("join/cpu", variant)),
        ("idle, median node", "% of a core", 2, |variant| name("idle/median", variant)),
    ];
    let mut table = Table::of_two(["without a secret", "with"]);
    for (what, unit, digits, name) in rows {
        table.compare(figures, [what, unit], digits, VARIANTS.map(name));
    }
    Chapter { title: "What a secret costs", how, goals: GOALS.to_vec(), tables: vec![table], ..Chapter::default() }
}
