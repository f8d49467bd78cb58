//! What the machine can do at best: as many bytes as a commit takes, to and fro over TCP, and nothing else.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::latencies::Latencies;
use crate::node::Threads;

/// What a commit of 256 bytes sends, and what its answer does, in bytes.
const SENT: usize = 476;
const ANSWERED: usize = 42;
/// How long the echo may take to start, and waits for the one who pings.
const PATIENCE: Duration = Duration::from_secs(20);

/// The echo in a process of its own.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct EchoArgs {
    #[arg(long, default_value_t)]
    threads: Threads,
}

/// Round trips within this process.
pub(super) async fn run(window: Duration) -> anyhow::Result<Latencies> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let echo = tokio::spawn(echo(listener));
    let latencies = ping(addr, window).await?;
    echo.await??;
    Ok(latencies)
}

/// Round trips to another process.
pub(super) async fn run_between_processes(threads: Threads, window: Duration) -> anyhow::Result<Latencies> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args(["echo", "--threads", &threads.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = program.spawn().context("cannot start the echo")?;
    let mut lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.context("the echo does not start")??;
    let latencies = ping(line.context("the echo ended")?.parse()?, window).await?;
    timeout(PATIENCE, process.wait()).await.context("the echo does not end")??;
    Ok(latencies)
}

/// The hidden subcommand `echo`: answers the first who connects, and ends with the connection.
pub(crate) fn serve(args: EchoArgs) -> anyhow::Result<()> {
    args.threads.runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        // On a thread of the runtime, as everything in a node is.
        tokio::spawn(echo(listener)).await?
    })
}

async fn echo(listener: TcpListener) -> anyhow::Result<()> {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.context("nobody pings")??;
    stream.set_nodelay(true)?;
    let mut buffer = [0; SENT];
    while stream.read_exact(&mut buffer).await.is_ok() {
        stream.write_all(&buffer[..ANSWERED]).await?;
    }
    Ok(())
}

async fn ping(addr: SocketAddr, window: Duration) -> anyhow::Result<Latencies> {
    let ping = async move {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut nanoseconds = Vec::new();
        let until = Instant::now() + window;
        let mut buffer = [0; SENT];
        loop {
            let began = Instant::now();
            if began >= until {
                return anyhow::Ok(Latencies::of(nanoseconds));
            }
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer[..ANSWERED]).await?;
            nanoseconds.push(u32::try_from(began.elapsed().as_nanos())?);
        }
    };
    tokio::spawn(ping).await?
}
