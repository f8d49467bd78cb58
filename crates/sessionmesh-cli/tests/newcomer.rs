//! What a newcomer does with two machines and a secret, with the program itself.
//!
//! The machines are network namespaces, made here: needs root and iproute2, and is skipped without.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside the functions that clippy knows as tests")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::time::Instant;

use sessionmesh_testkit::processes::lan::Lan;
use sessionmesh_testkit::waiting::{PATIENCE, check, eventually_blocking};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sessionmesh");

/// A node on a host of its own. Its process ends when this is dropped.
struct Node<'a> {
    host: String,
    addr: String,
    log: PathBuf,
    process: Child,
    /// It ends before its host does.
    _lan: &'a Lan,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> Node<'a> {
    /// Writes its configuration, with nothing in it but what it must have, and starts it.
    fn start(lan: &'a Lan, name: &str, folder: &Path, secret_file: &Path) -> Self {
        let addr = lan.addr(name).to_string();
        let (config, log) = (folder.join(format!("{name}.toml")), folder.join(format!("{name}.log")));
        let text = format!(
            "name = '{name}'\nbind = '{addr}:7700'\nhttp = '{addr}:8080'\nsecret_file = '{}'\n",
            secret_file.display()
        );
        fs::write(&config, text).unwrap();
        let log_file = File::create(&log).unwrap();
        let mut command = Command::new("ip");
        // It runs the program in its own place, so the process keeps its id.
        command.args(["netns", "exec", &lan.space(name), PROGRAM, "node", "--config"]).arg(&config);
        let process = command.stdin(Stdio::null()).stdout(log_file.try_clone().unwrap()).stderr(log_file).spawn();
        Self { host: lan.space(name), addr, log, process: process.unwrap(), _lan: lan }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What it answers to a request from its own host; empty if it does not.
    fn answers(&self, method: &str, path: &str, cookie: &str, body: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncookie: {cookie}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
            addr = self.addr,
        );
        let by_bash = format!("exec 3<>/dev/tcp/{}/8080 && printf %s \"$REQUEST\" >&3 && cat <&3", self.addr);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host, "bash", "-c", &by_bash]).env("REQUEST", request);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    fn waits_for(&self, members: &str) {
        eventually_blocking(PATIENCE, || {
            let health = self.answers("GET", "/healthz", "", "");
            check(health.contains(members) && health.contains("\"ready\""), || format!("{health}\n{}", self.log()))
        });
    }
}

fn secret(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    let made = Command::new(PROGRAM).args(["keygen", "--file"]).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    file
}

#[test]
fn a_newcomer_logs_in_on_one_machine_and_is_known_on_the_other_and_learns_of_a_wrong_secret() {
    let lan = match Lan::new(&["web-1", "web-2"]) {
        Ok(lan) => lan,
        Err(why) => return eprintln!("SKIPPED: this machine can have no network namespaces: {why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let [right, wrong] = ["secret", "other"].map(|name| secret(folder.path(), name));
    let first = Node::start(&lan, "web-1", folder.path(), &right);
    let second = Node::start(&lan, "web-2", folder.path(), &right);
    first.waits_for("[\"web-1\",\"web-2\"]");
    second.waits_for("[\"web-1\",\"web-2\"]");
    let login = first.answers("POST", "/login", "", "{\"user\":\"ada\"}");
    let cookie = login.lines().find_map(|line| line.to_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {login}")).split(';').next().unwrap();
    let visit = second.answers("GET", "/session", cookie, "");
    assert!(visit.contains("ada"), "{visit}");

    drop(second);
    first.waits_for("[\"web-1\"]");
    let begun = Instant::now();
    let second = Node::start(&lan, "web-2", folder.path(), &wrong);
    for (node, other) in [(&first, &second), (&second, &first)] {
        eventually_blocking(PATIENCE, || {
            let log = node.log();
            let says =
                log.lines().any(|line| line.contains("do both have the same `secret`") && line.contains(&other.addr));
            check(says, || log)
        });
        println!("FIGURE said {:?} after the start", begun.elapsed());
    }
    second.waits_for("[\"web-2\"]");
    let visit = second.answers("GET", "/session", cookie, "");
    assert!(!visit.contains("ada"), "{visit}");
    assert!(!first.answers("GET", "/healthz", "", "").contains("web-2"));
}
