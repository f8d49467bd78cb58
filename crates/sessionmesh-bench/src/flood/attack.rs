//! Strangers at the ports of nodes that have a secret, while visitors come.
//!
//! They have listened before: they know how the secret is named, and have the first words of a true handshake and of a true
//! datagram. So a part of what they send costs a node as much as it can cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sessionmesh::{Discovery, Mesh, Mode, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{BYTES, NODES, VISITS_PER_SECOND, with_sessions};
use crate::memory;
use crate::node::{Answer, Command, NodeProcess, Processes, Rates, Threads};
use crate::report::{Figures, Table};
use crate::run_args::RunArgs;

/// Attacks begin so often, on each node in turn: with a connection, and with some datagrams.
const TICK: Duration = Duration::from_millis(1);
const DATAGRAMS_PER_TICK: usize = 10;
/// A connection that the node does not close is closed by the stranger after so long.
const HELD: Duration = Duration::from_secs(3);
/// How long the first words of a true node may be waited for.
const OVERHEARD_WITHIN: Duration = Duration::from_secs(20);

pub(super) const HOW: &str = "An attack: three such nodes with a secret, and visitors on each of them. Strangers of one address \
     open 1,000 connections a second, to each node in turn, and leave them open: silent ones, half a handshake, garbage, \
     plaintext, and the first words of a true handshake, recorded. Beside that 10,000 datagrams a second: garbage, recorded \
     ones, and such with one byte changed. They run on the machine of the nodes, and what they take themselves counts \
     against the nodes. Memory is that of the node that grew most.";

/// What somebody has who has listened.
struct Overheard {
    first_words: Vec<u8>,
    datagram: Vec<u8>,
}

/// Measures calm and attacks in turns, on the same cluster.
pub(super) async fn measure(args: &RunArgs, window: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    let secret = Secret::generate();
    let placement = Mode::PrimaryBackup { backups: 1 };
    let mut cluster = Processes::start_with(NODES, placement, Threads::PerCore, Some(secret.clone())).await?;
    let ids = with_sessions(&mut cluster).await?;
    let overheard = overhear(cluster.name(), secret).await?;
    one(&mut cluster, &ids, None, window / 2).await?;
    let rounds = args.rounds(5);
    for round in 1..=rounds {
        for (state, attack) in [("calm", None), ("attacked", Some(&overheard))] {
            let pids = pids(&cluster)?;
            let before: Vec<u64> = pids.iter().map(|pid| memory::resident(*pid)).collect::<Result<_, _>>()?;
            pids.iter().try_for_each(|pid| memory::forget_peak(*pid))?;
            let visits = one(&mut cluster, &ids, attack, window).await?;
            let grown = pids.iter().zip(before).map(|(pid, before)| {
                anyhow::Ok(memory::peak(*pid)?.saturating_sub(before) as f64 / f64::from(1 << 20))
            });
            let most = grown.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0.0, f64::max);
            figures.add(format!("flood/attack/{state}/memory"), "MiB", most);
            note(figures, state, &visits)?;
        }
        println!("flood, attack: round {round} of {rounds}");
    }
    cluster.settled().await.context("the nodes did not stay together")?;
    Ok(())
}

fn pids(cluster: &Processes) -> anyhow::Result<Vec<u32>> {
    cluster.nodes.iter().map(|node| node.pid().context("a node has ended")).collect()
}

fn note(figures: &mut Figures, state: &str, visits: &[Rates]) -> anyhow::Result<()> {
    let failed: u64 = visits.iter().map(|rates| rates.failed).sum();
    ensure!(failed == 0, "{failed} requests of visitors failed ({state})");
    for (percentile, of) in [("p50", (|rates| rates.p50_us) as fn(&Rates) -> f64), ("p99", |rates| rates.p99_us)] {
        // The slowest of the nodes.
        let slowest = visits.iter().map(of).fold(0.0, f64::max);
        figures.add(format!("flood/attack/{state}/{percentile}"), "us", slowest);
    }
    Ok(())
}

/// Visitors on all nodes, with an attack beside them or without.
async fn one(
    cluster: &mut Processes,
    ids: &[String],
    attack: Option<&Overheard>,
    window: Duration,
) -> anyhow::Result<Vec<Rates>> {
    let targets: Vec<SocketAddr> = cluster.nodes.iter().map(NodeProcess::addr).collect();
    let for_ms = u64::try_from(window.as_millis())?;
    for node in &mut cluster.nodes {
        let ids = ids.to_vec();
        node.send(&Command::Visit { ids, per_second: VISITS_PER_SECOND, bytes: BYTES, for_ms }).await?;
    }
    if let Some(overheard) = attack {
        attacked(&targets, overheard, Instant::now() + window).await?;
    }
    let mut visits = Vec::new();
    for node in &mut cluster.nodes {
        match node.receive().await? {
            Answer::Rates(rates) => visits.push(rates),
            other => bail!("{} answers {other:?}", node.name()),
        }
    }
    Ok(visits)
}

/// Attacks these nodes until then.
async fn attacked(targets: &[SocketAddr], overheard: &Overheard, until: Instant) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let first_words = [
        Vec::new(),
        overheard.first_words[..overheard.first_words.len() / 2].to_vec(),
        vec![0xa5; 3_000],
        [&120_u32.to_le_bytes()[..], &[0; 121]].concat(),
        overheard.first_words.clone(),
    ];
    let mut changed = overheard.datagram.clone();
    *changed.last_mut().context("a datagram is not empty")? ^= 1;
    let datagrams = [vec![0x5a; 1_000], overheard.datagram.clone(), changed];
    let (mut ticks, mut connections, mut number) = (interval(TICK), JoinSet::new(), 0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < until {
        ticks.tick().await;
        number += 1;
        let target = targets[number % targets.len()];
        connections.spawn(stranger(target, first_words[number % first_words.len()].clone()));
        for datagram in 0..DATAGRAMS_PER_TICK {
            // The system may refuse one that is too many.
            let target = targets[(number + datagram) % targets.len()];
            let _ = socket.try_send_to(&datagrams[(number * 7 + datagram) % datagrams.len()], target);
        }
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}

/// Says its first words, and waits for the end. Whatever fails is what the node wants.
async fn stranger(target: SocketAddr, first_words: Vec<u8>) {
    let talk = async {
        let mut stream = TcpStream::connect(target).await?;
        stream.write_all(&first_words).await?;
        let mut answer = [0; 4_096];
        while stream.read(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(HELD, talk).await;
}

/// What a node of this cluster says first to somebody whom it knows nothing of.
async fn overhear(cluster: &str, secret: Secret) -> anyhow::Result<Overheard> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    let socket = UdpSocket::bind(at).await?;
    let builder = Mesh::builder().name("overheard").cluster(cluster).secret(secret);
    let _mesh = builder.discovery(Discovery::seeds([at.to_string()])).discovery_window(HELD).start().await?;
    let overheard = async {
        let mut first_words = vec![0; 4_096];
        let (mut stream, _) = listener.accept().await?;
        let length = stream.read(&mut first_words).await?;
        first_words.truncate(length);
        let mut datagram = vec![0; 2_048];
        let length = socket.recv(&mut datagram).await?;
        datagram.truncate(length);
        anyhow::Ok(Overheard { first_words, datagram })
    };
    timeout(OVERHEARD_WITHIN, overheard).await.context("a node says nothing")?
}

/// What visitors noticed.
pub(super) fn table(figures: &Figures) -> Table {
    let mut table = Table::new("An attack on the ports of nodes", &["state", "visitors' p50", "p99", "memory grew by"]);
    for state in ["calm", "attacked"] {
        let of = |what: &str| figures.median(&format!("flood/attack/{state}/{what}")).unwrap_or_default();
        let us = |what: &str| format!("{:.0} us", of(what));
        table.rows.push(vec![state.to_owned(), us("p50"), us("p99"), format!("{:.1} MiB", of("memory"))]);
    }
    table
}
