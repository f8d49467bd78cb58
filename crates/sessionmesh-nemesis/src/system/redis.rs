//! Redis with Sentinel, as in "Example 2: basic setup with three boxes" of its documentation: on each host a Redis and a
//! sentinel. The first host starts with the primary.

use std::fmt::Write as _;
use std::path::Path;

use crate::host::Process;
use crate::network::Network;

const PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
const SERVICE: &str = "mymaster";

/// What is said of it in a report, and what it is.
pub(crate) const SETTINGS: &str =
    "appendonly yes\nappendfsync everysec\nmin-replicas-to-write 1\nmin-replicas-max-lag 10\n";
/// The same for the sentinels, without the name of the service.
pub(crate) const SENTINEL_SETTINGS: [&str; 3] =
    ["down-after-milliseconds 5000", "failover-timeout 60000", "parallel-syncs 1"];

/// Where sentinels are, as the client wants it.
pub(super) fn url(network: &Network) -> String {
    let at = |host: usize| format!("{}:{SENTINEL_PORT}", network.addr(host));
    let others: Vec<String> = (1..network.hosts()).map(|host| format!("node={}", at(host))).collect();
    format!("redis-sentinel://{}?{}&sentinelServiceName={SERVICE}", at(0), others.join("&"))
}

/// Starts both on one host. What they have written there before stays, as after a crash.
pub(super) fn start(network: &Network, folder: &Path, host: usize) -> anyhow::Result<Vec<Process>> {
    let folder = folder.join(format!("redis-{}", Network::name(host)));
    let (server, sentinel) = (folder.join("redis.conf"), folder.join("sentinel.conf"));
    if !folder.exists() {
        std::fs::create_dir_all(&folder)?;
        let addr = network.addr(host);
        let mut text = format!("bind {addr}\nport {PORT}\nprotected-mode no\n{SETTINGS}");
        if host > 0 {
            let _ = writeln!(text, "replicaof {} {PORT}", network.addr(0));
        }
        std::fs::write(&server, text)?;
        let mut text = format!("bind {addr}\nport {SENTINEL_PORT}\nprotected-mode no\n");
        let _ = writeln!(text, "sentinel monitor {SERVICE} {} {PORT} 2", network.addr(0));
        for setting in SENTINEL_SETTINGS {
            let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
            let _ = writeln!(text, "sentinel {name} {SERVICE} {value}");
        }
        std::fs::write(&sentinel, text)?;
    }
    let (space, log) = (network.space(host), folder.join("log"));
    let word = |path: &Path| path.to_string_lossy().into_owned();
    Ok(vec![
        Process::start(&space, &["redis-server".to_owned(), word(&server)], &folder, &log)?,
        Process::start(&space, &["redis-sentinel".to_owned(), word(&sentinel)], &folder, &log)?,
    ])
}

/// Whether each sentinel knows all others and all replicas: before that none of them can take over.
pub(super) fn knows_itself(network: &Network) -> anyhow::Result<bool> {
    let others = network.hosts() - 1;
    for host in 0..network.hosts() {
        let (addr, port) = (network.addr(host).to_string(), SENTINEL_PORT.to_string());
        let told = std::process::Command::new("redis-cli")
            .args(["-h", &addr, "-p", &port, "sentinel", "master", SERVICE])
            .output()?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let lines: Vec<&str> = told.lines().collect();
        let counts = |name| lines.windows(2).any(|pair| pair[0] == name && pair[1] == others.to_string());
        if !counts("num-slaves") || !counts("num-other-sentinels") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What it calls itself.
pub(super) fn version() -> anyhow::Result<String> {
    let told = std::process::Command::new("redis-server").arg("--version").output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    Ok(format!("Redis {}", told.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?")))
}
