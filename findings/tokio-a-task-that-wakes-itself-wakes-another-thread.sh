#!/usr/bin/env bash
# tokio: a channel between two halves of one task wakes another thread for each message.
#
# The naive guess: a connection is served by one task, of which one half reads and hands each answer through a channel to the other
# half, which writes; `select!` polls both. Both run on the same thread, one after the other, so the channel costs nothing to speak
# of, and the operating system hears nothing of it.
#
# What happens: the half that reads is polled first and wakes the half that writes, which is its own task, while that runs. A task
# that is woken while it runs is put at the end of the queue as one that has yielded, and for such a one the scheduler wakes an idle
# thread, which looks for work and mostly finds none, or takes the task to another core. With one message at a time each takes
# about 1.7 context switches in place of one, and the system calls that go with them.
#
# Source: tokio 1.48.0, src/runtime/task/harness.rs (`poll` of a task that was notified while it ran) and
# src/runtime/scheduler/multi_thread/worker.rs (`schedule_local`, `is_yield`). Seen by counting the context switches of the threads
# of the runtime, which Linux tells in /proc.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
tokio = { version = "=1.48.0", features = ["io-util", "macros", "net", "rt-multi-thread", "sync"] }
TOML
cat > "$folder/src/main.rs" <<'RUST'
use std::io::{Read, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MESSAGES: u64 = 20_000;

async fn by_channel(stream: TcpStream) {
    let (mut read, mut write) = stream.into_split();
    let (answers, mut waiting) = tokio::sync::mpsc::channel::<[u8; 8]>(16);
    let reading = async {
        let mut message = [0; 8];
        while read.read_exact(&mut message).await.is_ok() {
            answers.send(message).await.unwrap();
        }
    };
    let writing = async {
        while let Some(answer) = waiting.recv().await {
            write.write_all(&answer).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        () = reading => {}
        () = writing => {}
    }
}

async fn at_once(mut stream: TcpStream) {
    let mut message = [0; 8];
    while stream.read_exact(&mut message).await.is_ok() {
        stream.write_all(&message).await.unwrap();
    }
}

/// Context switches of the threads of the runtime.
fn switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        status.starts_with("Name:\ttokio").then_some(())?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t")?.parse::<u64>().ok())
    };
    tasks.filter_map(of).sum()
}

fn measure(runtime: &tokio::runtime::Runtime, channel: bool) -> f64 {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        if channel { by_channel(stream).await } else { at_once(stream).await }
    });
    let mut client = std::net::TcpStream::connect(at).unwrap();
    client.set_nodelay(true).unwrap();
    let mut ask = || {
        client.write_all(&[7; 8]).unwrap();
        client.read_exact(&mut [0; 8]).unwrap();
    };
    ask();
    let before = switches();
    (0..MESSAGES).for_each(|_| ask());
    (switches() - before) as f64 / MESSAGES as f64
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (at_once, by_channel) = (measure(&runtime, false), measure(&runtime, true));
    println!("{at_once:.2} context switches for each message if it is answered at once, {by_channel:.2} through the channel");
    let holds = by_channel > at_once * 1.3;
    std::process::exit(if holds { 0 } else { 1 });
}
RUST
echo "tokio 1.48.0"
echo "guessed: the same number of context switches with and without the channel"
if ! seen=$(cd "$folder" && cargo run --release --quiet 2>/dev/null); then
    echo "CHANGED: ${seen:-it does not build}"
    exit 1
fi
echo "seen:    $seen"
