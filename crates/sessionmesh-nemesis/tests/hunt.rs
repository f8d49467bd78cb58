//! The program, as people start it. Needs root, iproute2 and nftables, and skips without.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is lacking, as the program says it.
const LACKING: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

fn hunt(minutes: &str, logs: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nemesis"));
    command.args(["hunt", "--seed", "1", "--minutes", minutes, "--logs"]).arg(logs);
    command
}

/// The processes whose command line names this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("a system with /proc").flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    let folder = folder.to_string_lossy().into_owned();
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.contains(&folder)).collect()
}

fn ended(mut child: Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("an own child") {
            return status;
        }
        assert!(Instant::now() < until, "it does not end");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_short_hunt_breaks_no_promise() {
    let logs = tempfile::tempdir().unwrap();
    let done = hunt("0.1", logs.path()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.code() == Some(LACKING) {
        return eprintln!("SKIPPED: {}", String::from_utf8_lossy(&done.stderr));
    }
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("rounds ") && last.contains(" failed 0 ") && last.ends_with(" seed 1"), "{last}");
    assert_eq!(processes_of(logs.path()), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_all_that_was_started() {
    let logs = tempfile::tempdir().unwrap();
    let mut child = hunt("10", logs.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    // Given a cluster that has played a round
    let round = said.by_ref().map_while(Result::ok).find(|line| line.starts_with("round "));
    if round.is_none() {
        let status = ended(child);
        assert_eq!(status.code(), Some(LACKING));
        return eprintln!("SKIPPED: this machine can have no network namespaces");
    }
    assert_ne!(processes_of(logs.path()).len(), 0);
    // When it is interrupted
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    // Then it ends, and with it its nodes and their hosts.
    assert_eq!(ended(child).code(), Some(130));
    let until = Instant::now() + PATIENCE;
    while !processes_of(logs.path()).is_empty() {
        assert!(Instant::now() < until, "{:?} still run", processes_of(logs.path()));
        sleep(Duration::from_millis(10));
    }
    let hosts = fs::read_dir("/run/netns").map(|names| names.flatten().map(|name| name.file_name()).collect());
    let hosts: Vec<std::ffi::OsString> = hosts.unwrap_or_default();
    let left: Vec<_> = hosts.iter().filter(|name| name.to_string_lossy().starts_with(&format!("mt{pid}-"))).collect();
    assert!(left.is_empty(), "{left:?}");
}
