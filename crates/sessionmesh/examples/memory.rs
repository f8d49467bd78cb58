//! What a session costs in memory on a replica.
//!
//! `cargo run --release -p sessionmesh --example memory [SESSIONS] [VALUE_BYTES]` starts a second process as the replica,
//! creates sessions with one attribute each in this one, and compares the resident memory of the replica before and
//! after. Linux only: it reads /proc.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use sessionmesh::{Ack, Discovery, Mesh, Mode};

type Failure = Box<dyn Error + Send + Sync>;

/// Commits that wait for their copy at the same time.
const WRITERS: usize = 64;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("replica") => replica(args.next().ok_or("the seed is missing")?).await,
        sessions => {
            let sessions = sessions.map_or(Ok(100_000), str::parse)?;
            let bytes = args.next().map_or(Ok(1024), |bytes| bytes.parse())?;
            measure(sessions, bytes).await
        }
    }
}

fn builder(name: &str, seed: &str) -> sessionmesh::MeshBuilder {
    Mesh::builder()
        .name(name)
        .cluster("memory-example")
        .mode(Mode::AllToAll)
        .discovery(Discovery::seeds([seed]))
        .discovery_window(Duration::from_millis(300))
}

/// The second process: joins, and answers each line on its input with its sessions and resident bytes.
async fn replica(seed: String) -> Result<(), Failure> {
    let mesh = builder("replica", &seed).start().await?;
    mesh.ready().await;
    loop {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().transpose()).await??;
        if line.is_none() {
            return Ok(());
        }
        println!("{} {}", mesh.stats().sessions, resident_bytes()?);
        std::io::stdout().flush()?;
    }
}

async fn measure(sessions: usize, bytes: usize) -> Result<(), Failure> {
    let mesh = builder("writer", "127.0.0.1:1").start().await?;
    let mut replica = Replica::start(&mesh)?;
    while mesh.members().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, before) = replica.ask()?;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let mesh = mesh.clone();
        writers.spawn(async move {
            let value = vec![b'x'; bytes];
            for _ in (writer..sessions).step_by(WRITERS) {
                let session = mesh.create().await?;
                session.insert_bytes("user", value.as_slice());
                session.commit_with(Ack::Copies(1)).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    let (held, after) = replica.ask()?;
    if held != sessions {
        return Err(format!("the replica holds {held} of {sessions} sessions").into());
    }
    let each = (after - before) as f64 / sessions as f64;
    println!(
        "{sessions} sessions of {bytes} B: {each:.0} B each on the replica ({:.3} of the value)",
        each / bytes as f64
    );
    Ok(())
}

struct Replica {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Replica {
    fn start(mesh: &Mesh) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["replica", &mesh.addr().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(process.stdout.take().ok_or("the replica has no output")?);
        Ok(Self { process, output })
    }

    /// How many sessions it holds, and its resident bytes.
    fn ask(&mut self) -> Result<(usize, u64), Failure> {
        self.process.stdin.as_mut().ok_or("the replica has no input")?.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (sessions, resident) = line.trim().split_once(' ').ok_or("the replica gave no answer")?;
        Ok((sessions.parse()?, resident.parse()?))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn resident_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
