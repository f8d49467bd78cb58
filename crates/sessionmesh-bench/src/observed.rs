//! What it costs to be looked at: nodes with somebody who watches, and the same without, in turns.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::http::connection::Connection;
use crate::http::running::{Peers, Running};
use crate::http::site::TOKEN;
use crate::http::system::System;
use crate::http::workload::{CONNECTIONS, Workload};
use crate::report::{Bound, Chapter, Figures, Goal, Table};
use crate::run_args::RunArgs;

/// What is measured beside each other, as figures name it.
const VARIANTS: [&str; 2] = ["not-observed", "observed"];
/// How often metrics are scraped.
const SCRAPES: Duration = Duration::from_secs(1);
/// A scrape falls into each window.
const WINDOW: Duration = Duration::from_secs(1);

const GOALS: [Goal; 2] = [
    Goal {
        what: "with the page open and metrics scraped each second to without: reads over HTTP",
        unit: "",
        bound: Bound::AtLeast(0.98),
        value: |figures| ratio(figures, &Workload::READ),
    },
    Goal {
        what: "with the page open and metrics scraped each second to without: writes over HTTP",
        unit: "",
        bound: Bound::AtLeast(0.98),
        value: |figures| ratio(figures, &Workload::WRITE),
    },
];

/// Measures reads and writes, watched and not in turns, each the first in every other round.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let peers = Peers::default();
        let mut running = Running::start(System { observed: true, ..System::MESH_LAYER }, &peers).await?;
        running.warm_up(Duration::from_millis(50)).await?;
        let (rounds, mut variants) = (args.rounds_or(60, 6), VARIANTS);
        for _ in 1..=rounds {
            variants.reverse();
            for workload in [Workload::WRITE, Workload::READ] {
                for name in variants {
                    running.system = System { name, ..running.system };
                    let is_watched = name == VARIANTS[1];
                    let watchers = if is_watched { watch(running.sites.addr()) } else { JoinSet::new() };
                    running.measure(&workload, WINDOW, &peers, figures).await?;
                    ended_well(watchers).await.context("who watches")?;
                }
            }
        }
        println!("observed: {rounds} rounds");
        running.sites.stop().await?;
        Ok(chapter(figures))
    })
}

/// The page, as far as its node notices, and Prometheus. They end with this value.
fn watch(at: SocketAddr) -> JoinSet<anyhow::Result<()>> {
    let mut watchers = JoinSet::new();
    watchers.spawn(keeps_page_open(at));
    watchers.spawn(scrapes(at));
    watchers
}

/// Neither may have ended by itself.
async fn ended_well(mut watchers: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = watchers.try_join_next() {
        ended??;
    }
    watchers.shutdown().await;
    Ok(())
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n").into_bytes()
}

/// Reads what the page gets as it comes.
async fn keeps_page_open(at: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(&request("/v1/events?figures=true")).await?;
    let mut part = vec![0; 64 << 10];
    let read = stream.read(&mut part).await?;
    ensure!(part[..read].starts_with(b"HTTP/1.1 200"), "the page is not served");
    while stream.read(&mut part).await? > 0 {}
    anyhow::bail!("the stream of events has ended")
}

async fn scrapes(at: SocketAddr) -> anyhow::Result<()> {
    let mut connection = Connection::open(at).await?;
    let mut ticks = interval(SCRAPES);
    loop {
        ticks.tick().await;
        let answer = connection.ask(&request("/metrics")).await?;
        ensure!(answer.status == 200, "a scrape is answered with status {}", answer.status);
    }
}

fn name(workload: &Workload, variant: &'static str, what: &str) -> String {
    workload.figure(&System { name: variant, ..System::MESH_LAYER }, what)
}

fn ratio(figures: &Figures, workload: &Workload) -> Option<f64> {
    let [without, with] = VARIANTS.map(|variant| name(workload, variant, "rate"));
    figures.ratio(&with, &without)
}

fn chapter(figures: &Figures) -> Chapter {
    let how = format!(
        "The own layer on two nodes, {} connections, as in the chapter on HTTP, in windows of {WINDOW:?}. The nodes count for \
         Prometheus and serve the admin API. While they are observed the page's stream of events and figures is open and `/metrics` is \
         read each second; who reads them takes of the same cores. {}",
        CONNECTIONS[0],
        Table::HOW_TWO_ARE_COMPARED
    );
    let mut table = Table::of_two(["not observed", "observed"]);
    for (what, workload) in [("reads", Workload::READ), ("writes", Workload::WRITE)] {
        for (row, unit, figure, digits) in
            [(what, "requests/s", "rate", 0), ("CPU", "us", "cpu", 2), ("p99", "us", "p99", 0)]
        {
            table.compare(figures, [row, unit], digits, VARIANTS.map(|variant| name(&workload, variant, figure)));
        }
    }
    Chapter {
        title: "What it costs to be looked at",
        how,
        goals: GOALS.to_vec(),
        tables: vec![table],
        ..Chapter::default()
    }
}
