//! The hosts, and what is between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sessionmesh_testkit::processes::lan::{End, Lan};

use crate::Lacking;

/// The names of hosts, as many as there may be.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
/// The host of the visitors.
const VISITORS: &str = "visitors";
/// A link that is slow for a while: what does not fit waits.
const SLOW: &str = "rate 256kbit burst 3000 latency 3000ms";
/// The same, where the kernel can do it.
const DELAYED: &str = "delay 150ms 100ms";

/// What is done to packets on one of the ways between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) traffic: Traffic,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Traffic {
    All,
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// They vanish.
    Silent,
    /// So many percent of them vanish.
    Lossy(u8),
    /// Connections are answered with a reset.
    Reset,
}

/// Hosts on one switch. The last one is that of the visitors, in which this process is.
#[derive(Debug)]
pub(crate) struct Network {
    lan: Lan,
    hosts: usize,
    blocks: BTreeMap<usize, Vec<Block>>,
    /// What each host filters now.
    applied: BTreeMap<usize, String>,
    slow: BTreeSet<usize>,
}

impl Network {
    /// Makes it, and moves this thread to the visitors' host: to be called before there are others.
    pub(crate) fn build(hosts: usize) -> anyhow::Result<Self> {
        lacks()?;
        remove_leftovers();
        let names: Vec<&str> = NAMES.iter().take(hosts).copied().chain([VISITORS]).collect();
        let lan = Lan::new(&names).map_err(|why| Lacking(format!("no network namespaces can be made here: {why}")))?;
        let network = Self { lan, hosts, blocks: BTreeMap::new(), applied: BTreeMap::new(), slow: BTreeSet::new() };
        for name in &names {
            // Tomcat's nodes find each other by multicast.
            run("ip", &["-n", &network.lan.space(name), "route", "add", "224.0.0.0/4", "dev", "eth0"])?;
        }
        network.filter(0, "").map_err(|error| Lacking(format!("nftables does not work here: {error:#}")))?;
        let file = std::fs::File::open(Path::new("/run/netns").join(network.lan.space(VISITORS)))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Lacking(format!("a namespace cannot be entered: {error}")))?;
        Ok(network)
    }

    /// The name of a host.
    pub(crate) fn name(host: usize) -> &'static str {
        NAMES.get(host).copied().unwrap_or(VISITORS)
    }

    pub(crate) const fn hosts(&self) -> usize {
        self.hosts
    }

    pub(crate) fn space(&self, host: usize) -> String {
        self.lan.space(if host == self.hosts { VISITORS } else { NAMES[host] })
    }

    pub(crate) fn addr(&self, host: usize) -> Ipv4Addr {
        self.lan.addr(if host == self.hosts { VISITORS } else { NAMES[host] })
    }

    /// Adds what a fault does to packets.
    pub(crate) fn block(&mut self, fault: usize, blocks: Vec<Block>) -> anyhow::Result<()> {
        self.blocks.insert(fault, blocks);
        self.apply()
    }

    /// Takes it away again.
    pub(crate) fn unblock(&mut self, fault: usize) -> anyhow::Result<()> {
        self.blocks.remove(&fault);
        self.apply()
    }

    /// Closes the connections that a host has with others.
    pub(crate) fn reset(&self, host: usize) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            let to = self.addr(other).to_string();
            // Not every kernel can do it; then the filter resets them at the next packet.
            let _ = run("ip", &["netns", "exec", &self.space(host), "ss", "-K", "dst", &to]);
        }
    }

    /// Takes the cable of a host out at the switch, or puts it in.
    pub(crate) fn plug(&self, host: usize, in_again: bool) {
        self.lan.set(NAMES[host], End::Switch, if in_again { "up" } else { "down" });
    }

    /// Makes what a host sends slow, or fast again.
    pub(crate) fn slow(&mut self, host: usize, slow: bool) -> anyhow::Result<()> {
        let space = self.space(host);
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let tc = |verb: &'static str, what: Vec<&'static str>| {
            let mut all = vec!["netns", "exec", &space, "tc", "qdisc", verb, "dev", "eth0", "root"];
            all.extend(what);
            run("ip", &all)
        };
        if slow && self.slow.insert(host) {
            let netem = [vec!["netem"], words(DELAYED)].concat();
            tc("add", netem).or_else(|_| tc("add", [vec!["tbf"], words(SLOW)].concat()))?;
        } else if !slow && self.slow.remove(&host) {
            tc("del", Vec::new())?;
        }
        Ok(())
    }

    /// Ends all that is done to packets.
    pub(crate) fn heal(&mut self) -> anyhow::Result<()> {
        self.blocks.clear();
        self.apply()?;
        for host in 0..self.hosts {
            self.plug(host, true);
            self.slow(host, false)?;
        }
        Ok(())
    }

    fn apply(&mut self) -> anyhow::Result<()> {
        for host in 0..=self.hosts {
            let rules = self.rules(host);
            if self.applied.get(&host).map_or("", String::as_str) != rules {
                self.filter(host, &rules)?;
                self.applied.insert(host, rules);
            }
        }
        Ok(())
    }

    /// All is dropped where it arrives: who sends must not notice.
    fn rules(&self, host: usize) -> String {
        let mut rules = String::new();
        for block in self.blocks.values().flatten().filter(|block| block.to == host).collect::<BTreeSet<_>>() {
            let traffic = match block.traffic {
                Traffic::All => "",
                Traffic::Udp => "meta l4proto udp ",
                Traffic::Tcp => "meta l4proto tcp ",
            };
            let verdict = match block.how {
                How::Silent => "drop".to_owned(),
                How::Lossy(percent) => format!("numgen random mod 100 < {percent} drop"),
                How::Reset => "meta l4proto tcp reject with tcp reset".to_owned(),
            };
            let _ = writeln!(rules, "ip saddr {} {traffic}{verdict}", self.addr(block.from));
        }
        rules
    }

    fn filter(&self, host: usize, rules: &str) -> anyhow::Result<()> {
        let table = format!(
            "table inet nemesis\ndelete table inet nemesis\ntable inet nemesis {{\n chain arrives {{\n type filter hook \
             input priority 0; policy accept;\n{rules} }}\n}}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.space(host), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        nft.stdin.take().context("no standard input")?.write_all(table.as_bytes())?;
        let done = nft.wait_with_output()?;
        ensure!(done.status.success(), "nft: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    }
}

/// Fails with what this machine lacks.
fn lacks() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Lacking("network namespaces need root".to_owned()).into());
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables"), ("setpriv", "util-linux")] {
        let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if started.is_err() {
            return Err(Lacking(format!("there is no `{program}` (Debian: apt-get install {package})")).into());
        }
    }
    Ok(())
}

/// Removes the hosts of runs that were killed.
fn remove_leftovers() {
    let Ok(names) = std::fs::read_dir("/run/netns") else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        // As the test kit names them: with the process that made them.
        let maker = name.strip_prefix("mt").and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid.to_owned());
        if maker.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            let _ = run("ip", &["netns", "del", &name]);
        }
    }
}

fn run(program: &str, words: &[&str]) -> anyhow::Result<()> {
    let done = Command::new(program).args(words).output().with_context(|| format!("cannot run {program}"))?;
    let why = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} {}: {}", words.join(" "), why.trim());
    Ok(())
}
