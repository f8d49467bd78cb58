//! Whole requests over HTTP, all variants in turns.

mod load;
mod peers;
mod report;
pub(crate) mod site;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::load::{Load, Requests};
use self::peers::{Redis, Sites};
use self::report::{Figures, Goal};
use self::site::Variant;
use crate::commands::HttpArgs;

/// Sessions that are read and written, made beforehand.
const SESSIONS: usize = 1_000;

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

/// What must be reached, in one run: the ratio of the first to the second.
const GOALS: [Goal; 4] = [
    Goal { of: Variant::MeshStore, to: Variant::Memory, at: Operation::Read, least: 0.95 },
    Goal { of: Variant::MeshStore, to: Variant::Redis, at: Operation::Read, least: 1.7 },
    Goal { of: Variant::MeshStore, to: Variant::Redis, at: Operation::Write, least: 1.2 },
    Goal { of: Variant::MeshLayer, to: Variant::Bare, at: Operation::Read, least: 0.85 },
];

/// Measures, and prints the table.
pub(crate) async fn run(args: &HttpArgs) -> anyhow::Result<()> {
    let redis = Redis::start().await?;
    if redis.is_none() {
        println!("redis-server is not installed (Debian: apt-get install redis-server): it is left out");
    }
    let variants: Vec<Variant> =
        Variant::ALL.into_iter().filter(|variant| *variant != Variant::Redis || redis.is_some()).collect();
    let mut targets = Vec::new();
    for variant in variants {
        let sites = Sites::start(variant, redis.as_ref()).await?;
        let cookies = make_sessions(&sites, args, variant).await?;
        targets.push((variant, sites, cookies));
    }
    let mut figures = Figures::default();
    let mut rng = StdRng::seed_from_u64(1);
    // The first round only warms up.
    for round in 0..=args.rounds() {
        for operation in Operation::ALL {
            // Nobody is always the first after the same one.
            let start = rng.random_range(0..targets.len());
            for (variant, sites, cookies) in targets.iter().cycle().skip(start).take(targets.len()) {
                let requests = requests(operation, args, cookies);
                let load = Load { addr: sites.addr(), connections: args.connections, window: args.window() };
                let done = load.run(&requests).await?;
                if done.failed > 0 {
                    bail!("{}: {} of {} {} requests failed", variant.name(), done.failed, done.total, operation.name());
                }
                if round > 0 {
                    figures.add(*variant, operation, &done);
                }
            }
        }
        if round > 0 {
            println!("round {round} of {} done", args.rounds());
        }
    }
    println!("\n{}", figures.table(&GOALS));
    if let Some(file) = &args.json {
        std::fs::write(file, figures.json(args)).with_context(|| format!("cannot write {}", file.display()))?;
        println!("all figures: {}", file.display());
    }
    Ok(())
}

async fn make_sessions(sites: &Sites, args: &HttpArgs, variant: Variant) -> anyhow::Result<Vec<String>> {
    if variant == Variant::Bare {
        return Ok(Vec::new());
    }
    let cookies = load::cookies(sites.addr(), &format!("/new?n={}", args.bytes), SESSIONS).await;
    cookies.with_context(|| format!("{} makes no sessions", variant.name()))
}

fn requests(operation: Operation, args: &HttpArgs, cookies: &[String]) -> Requests {
    let path = match operation {
        Operation::Read => "/read".to_owned(),
        Operation::Write => format!("/write?n={}", args.bytes),
        Operation::New => format!("/new?n={}", args.bytes),
    };
    let with = |cookie: &str| format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{cookie}\r\n").into_bytes();
    if operation == Operation::New || cookies.is_empty() {
        return Requests(vec![with("")]);
    }
    let mut rng = StdRng::seed_from_u64(2);
    let drawn = (0..SESSIONS * 4).filter_map(|_| cookies.choose(&mut rng));
    Requests(drawn.map(|cookie| with(&format!("Cookie: {cookie}\r\n"))).collect())
}
