//! The program from outside, as its users run it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside the functions that clippy knows as tests")]

use std::process::Stdio;
use std::time::Duration;

use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn run(mut command: Command) -> Outcome {
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A node alone, at any free ports.
fn node(name: &str, seed: &str) -> Command {
    // No balancer has to notice.
    let mut command = program(&["node", "--notice", "0s"]);
    command.env("SESSIONMESH_NAME", name).env("SESSIONMESH_HTTP", "127.0.0.1:0").env("SESSIONMESH_SEEDS", seed);
    command
}

type Output = Lines<BufReader<ChildStdout>>;

/// Starts `command` and waits for a line with `text`; gives all lines until then.
async fn until(mut command: Command, text: &str) -> (Child, Output, Vec<String>) {
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let reading = async {
        while seen.last().is_none_or(|line: &String| !line.contains(text)) {
            let line = output.next_line().await.unwrap();
            seen.push(line.unwrap_or_else(|| panic!("it ended without saying {text:?}")));
        }
    };
    timeout(PATIENCE, reading).await.expect("it says so");
    (child, output, seen)
}

/// The process ids that a demo prints.
fn pids(lines: &[String]) -> Vec<u32> {
    let after = lines.iter().filter_map(|line| line.split_once("pid "));
    after.map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()).collect()
}

/// Whether the process runs; one that ended but was not waited for by its parent does not.
#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[cfg(unix)]
async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

async fn demo_once(args: &[&str]) {
    let outcome = run(program(&[&["demo", "--once"], args].concat())).await;
    let Outcome { code, stdout, stderr } = &outcome;
    assert_eq!(*code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("nobody was logged out"), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no colours without a terminal: {stdout}");
    let pids = pids(&stdout.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(pids.len(), 4, "three nodes, and one again: {stdout}");
    #[cfg(target_os = "linux")]
    assert!(!pids.into_iter().any(runs), "all nodes have ended");
}

#[tokio::test]
async fn the_demo_plays_with_a_primary_and_a_backup() {
    demo_once(&["--mode", "primary-backup"]).await;
}

#[tokio::test]
async fn the_demo_plays_with_all_to_all() {
    demo_once(&["--mode", "all-to-all"]).await;
}

#[tokio::test]
async fn the_demo_plays_with_seeds() {
    demo_once(&["--discovery", "seeds"]).await;
}

#[tokio::test]
async fn the_demo_names_the_port_that_is_in_use() {
    let taken = TokioNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let outcome = run(program(&["demo", "--once", "--nodes", "2", "--http-port", &port.to_string()])).await;
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    let message = format!("error: node-1 did not start: cannot listen for HTTP at 127.0.0.1:{port}: ");
    assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("another --http-port"), "{}", outcome.stderr);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_node_outlives_its_demo() {
    for (name, code) in [("-KILL", None), ("-TERM", Some(0)), ("-INT", Some(0))] {
        let (mut child, _output, lines) = until(program(&["demo", "--nodes", "2"]), "Ctrl-C ends").await;
        let nodes = pids(&lines);
        assert!(nodes.iter().any(|&pid| runs(pid)));
        signal(&child, name).await;
        let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), code, "{name}");
        let gone = async {
            while nodes.iter().any(|&pid| runs(pid)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("all nodes end");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_node_that_is_told_to_stop_hands_over_and_ends_well() {
    for name in ["-TERM", "-INT"] {
        let (mut child, mut output, lines) = until(node("web-1", "127.0.0.1:1"), "is ready").await;
        assert!(lines[0].starts_with("web-1 is ready: http://127.0.0.1:"), "{lines:?}");
        signal(&child, name).await;
        let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0));
        assert_eq!(output.next_line().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_node_whose_name_is_taken_is_refused() {
    let (_first, _output, lines) = until(node("web-1", "127.0.0.1:1"), "is ready").await;
    let (_, seed) = lines[0].split_once("replication ").unwrap();
    let outcome = run(node("web-1", seed)).await;
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("error: the name `web-1` is in use by the live node at "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    for (text, message) in [
        ("name = 'web-1'\nbakups = 1", "unknown key `bakups` in file "),
        ("name = 'web-1'\nhttp = 'localhost'", "`http` cannot be localhost (from file "),
        ("http = '127.0.0.1:0'", "`name` is missing"),
    ] {
        std::fs::write(&file, text).unwrap();
        let outcome = run(program(&["node", "--config", file.to_str().unwrap()])).await;
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with(&format!("error: {message}")), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
    let outcome = run(program(&["node", "--config", "/no/such/file.toml"])).await;
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.starts_with("error: cannot read configuration /no/such/file.toml"), "{}", outcome.stderr);
}

#[tokio::test]
async fn the_multicast_check_says_for_each_interface_how_it_went() {
    let outcome = run(program(&["multicast-check", "--interface", "127.0.0.1"])).await;
    let row = outcome.stdout.lines().find(|line| line.contains("127.0.0.1")).expect("a row for the interface");
    // Not every system has multicast on the loopback device; the code has to tell the same as the row.
    let expected = if row.contains("ok") { Some(0) } else { Some(1) };
    assert_eq!(outcome.code, expected, "{}", outcome.stdout);

    // What a node would do is tried, too: one that binds loopback sends there.
    let mut check = program(&["multicast-check"]);
    check.env("SESSIONMESH_BIND", "127.0.0.1:7700").env("SESSIONMESH_HTTP", "127.0.0.1:8080");
    let outcome = run(check).await;
    let (_, node) = outcome.stdout.split_once("A node with these settings").expect("a part of its own");
    let row = node.lines().find(|line| line.contains("127.0.0.1")).expect("its interface");
    assert!(row.contains("beacons go there") || outcome.code == Some(1), "{}", outcome.stdout);

    let outcome = run(program(&["multicast-check", "--interface", "192.0.2.77"])).await;
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no IPv4 interface with the address 192.0.2.77"), "{}", outcome.stderr);
}
