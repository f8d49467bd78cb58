//! Whole requests over HTTP, all variants in turns.

pub(crate) mod load;
pub(crate) mod peers;
pub(crate) mod site;

use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::load::{Done, Load, Requests};
use self::peers::{Redis, Sites};
use self::site::Variant;
use crate::commands::RunArgs;
use crate::report::{Bound, Chapter, Figures, Goal, Plot, Shape, Table};

/// Sessions that are read and written, made beforehand.
const SESSIONS: usize = 1_000;
/// Bytes of the attribute that is read and written.
const BYTES: usize = 256;
/// Connections, each with one request at a time.
const CONNECTIONS: [u16; 2] = [16, 64];

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// Reads the attribute of a session.
    Read,
    /// Writes the attribute of a session.
    Write,
    /// Makes a session.
    New,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::New];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::New => "new",
        }
    }
}

const GOALS: [Goal; 4] = [
    Goal {
        what: "read, own layer to no session",
        unit: "",
        bound: Bound::AtLeast(0.90),
        value: |figures| ratio(figures, Operation::Read, Variant::MeshLayer, Variant::Bare),
    },
    Goal {
        what: "read, store to MemoryStore",
        unit: "",
        bound: Bound::AtLeast(0.95),
        value: |figures| ratio(figures, Operation::Read, Variant::MeshStore, Variant::Memory),
    },
    Goal {
        what: "write, own layer to Redis",
        unit: "",
        bound: Bound::AtLeast(1.5),
        value: |figures| ratio(figures, Operation::Write, Variant::MeshLayer, Variant::Redis),
    },
    Goal {
        what: "new session, own layer to Redis",
        unit: "",
        bound: Bound::AtLeast(1.3),
        value: |figures| ratio(figures, Operation::New, Variant::MeshLayer, Variant::Redis),
    },
];

/// The ratio of two rates at 16 connections.
fn ratio(figures: &Figures, operation: Operation, of: Variant, to: Variant) -> Option<f64> {
    let rate = |variant| format!("{}/rate", name(CONNECTIONS[0], operation, variant));
    figures.ratio(&rate(of), &rate(to))
}

fn name(connections: u16, operation: Operation, variant: Variant) -> String {
    format!("http/{connections}/{}/{}", operation.name(), variant.name())
}

/// Measures all variants that can be had here.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    // The load comes from one thread: the servers get what it leaves.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let redis = Redis::start().await?;
    let mut left_out = Vec::new();
    if redis.is_none() {
        left_out
            .push("Redis is left out: redis-server is not installed (Debian: apt-get install redis-server).".into());
    }
    let mut targets = Vec::new();
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Redis || redis.is_some()) {
        let sites = Sites::start(variant, redis.as_ref()).await?;
        let cookies = make_sessions(&sites, variant).await?;
        targets.push((variant, sites, cookies));
    }
    let window = Duration::from_millis(args.pick(2_000, 400));
    let rounds = args.rounds(5);
    let mut rng = StdRng::seed_from_u64(1);
    // The first round only warms up.
    for round in 0..=rounds {
        for connections in CONNECTIONS {
            for operation in Operation::ALL {
                // Nobody is always the first after the same one.
                let start = rng.random_range(0..targets.len());
                for (variant, sites, cookies) in targets.iter().cycle().skip(start).take(targets.len()) {
                    let load = Load { addr: sites.addr(), connections, window };
                    let done = load.run(&requests(operation, cookies)).await?;
                    if done.failed > 0 {
                        let (variant, operation) = (variant.name(), operation.name());
                        bail!("{variant}: {} of {} {operation} requests failed", done.failed, done.total);
                    }
                    if round > 0 {
                        note(figures, &name(connections, operation, *variant), &done);
                    }
                }
            }
        }
        println!("http: round {round} of {rounds}{}", if round == 0 { " (to warm up)" } else { "" });
    }
    Ok(chapter(figures, left_out))
}

fn note(figures: &mut Figures, name: &str, done: &Done) {
    let mut latencies = done.latencies_us.clone();
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    figures.add(format!("{name}/rate"), "requests/s", done.rate());
    figures.add(format!("{name}/p50"), "us", percentile(50).into());
    figures.add(format!("{name}/p99"), "us", percentile(99).into());
}

fn chapter(figures: &Figures, left_out: Vec<String>) -> Chapter {
    let how = format!(
        "The same axum application in each variant, as processes on this machine, the load beside them from one thread. \
         {SESSIONS} sessions with one attribute of {BYTES} bytes; a read answers a few bytes of it. Each Sessionmesh variant \
         has two nodes, and a write is answered when the other node has it (`Copies(1)`). Redis persists nothing. Medians \
         of the rounds, with the lowest and the highest."
    );
    let mut chapter = Chapter { title: "Whole requests over HTTP", how, left_out, ..Chapter::default() };
    chapter.goals = GOALS.to_vec();
    for connections in CONNECTIONS {
        let head = ["", "variant", "requests/s", "lowest to highest", "to no session", "p50", "p99"];
        let mut rows = Vec::new();
        for operation in Operation::ALL {
            rows.extend(Variant::ALL.iter().filter_map(|variant| row(figures, connections, operation, *variant)));
        }
        let title = format!("{connections} connections:");
        chapter.tables.push(Table { title, head: head.map(str::to_owned).to_vec(), rows });
    }
    let bars = |operation| {
        let rate = |variant: &Variant| {
            let rate = figures.median(&format!("{}/rate", name(CONNECTIONS[0], operation, *variant)))?;
            Some((variant.what().to_owned(), rate))
        };
        Shape::Bars(Variant::ALL.iter().filter_map(rate).collect())
    };
    let plot = |file, title, operation| Plot { file, title, values: "requests/s", shape: bars(operation) };
    chapter.plots = vec![
        plot("http-read", "Reads, 16 connections", Operation::Read),
        plot("http-write", "Writes, 16 connections", Operation::Write),
        plot("http-new", "New sessions, 16 connections", Operation::New),
    ];
    chapter
}

fn row(figures: &Figures, connections: u16, operation: Operation, variant: Variant) -> Option<Vec<String>> {
    let name = |variant| name(connections, operation, variant);
    let (mine, bare) = (format!("{}/rate", name(variant)), format!("{}/rate", name(Variant::Bare)));
    let rate = figures.get(&mine)?;
    let milliseconds = |what: &str| {
        let us = figures.median(&format!("{}/{what}", name(variant))).unwrap_or_default();
        format!("{:.2} ms", us / 1_000.0)
    };
    Some(vec![
        operation.name().to_owned(),
        variant.what().to_owned(),
        format!("{:.0}", rate.median()),
        format!("{:.0} to {:.0}", rate.minimum(), rate.maximum()),
        format!("{:.2}", figures.ratio(&mine, &bare)?),
        milliseconds("p50"),
        milliseconds("p99"),
    ])
}

async fn make_sessions(sites: &Sites, variant: Variant) -> anyhow::Result<Vec<String>> {
    if variant == Variant::Bare {
        return Ok(Vec::new());
    }
    let cookies = load::cookies(sites.addr(), &format!("/new?n={BYTES}"), SESSIONS).await;
    cookies.with_context(|| format!("{} makes no sessions", variant.name()))
}

fn requests(operation: Operation, cookies: &[String]) -> Requests {
    let path = match operation {
        Operation::Read => "/read".to_owned(),
        Operation::Write => format!("/write?n={BYTES}"),
        Operation::New => format!("/new?n={BYTES}"),
    };
    let with = |cookie: &str| format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{cookie}\r\n").into_bytes();
    if operation == Operation::New || cookies.is_empty() {
        return Requests(vec![with("")]);
    }
    let mut rng = StdRng::seed_from_u64(2);
    let drawn = (0..SESSIONS * 4).filter_map(|_| cookies.choose(&mut rng));
    Requests(drawn.map(|cookie| with(&format!("Cookie: {cookie}\r\n"))).collect())
}
