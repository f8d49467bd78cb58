//! The report of a comparison.

use std::fmt::Write as _;

use super::{AFTER, CompareArgs, GAP_MS, NODES, SETTLES};
use crate::checker::Losses;
use crate::clock::Ms;
use crate::system::{REDIS_SENTINEL_SETTINGS, REDIS_SETTINGS};
use crate::visitor::ANSWERS_WITHIN;

/// One system and one fault.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) system: String,
    pub(super) fault: String,
    pub(super) losses: Losses,
    pub(super) site_ms: Ms,
    pub(super) worst_ms: Ms,
}

impl Row {
    pub(super) fn line(&self) -> String {
        let Losses { writes, writes_lost, writes_uneven, logouts, logouts_undone, logins, logged_out } = self.losses;
        let seconds = |ms: Ms| format!("{}.{}", ms / 1_000, ms % 1_000 / 100);
        format!(
            "| {} | {} | {writes_lost} of {writes} | {writes_uneven} | {logouts_undone} of {logouts} | {logged_out} of \
             {logins} | {} | {} |",
            self.system,
            self.fault,
            seconds(self.site_ms),
            seconds(self.worst_ms)
        )
    }
}

pub(super) fn render(args: &CompareArgs, rows: &[Row], versions: &[String], loads: &[f64]) -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut page = format!(
        "# What five faults cost, here and elsewhere\n\nWritten by a program, from one run. To write it again, as root, \
         with `redis-server`, `redis-sentinel`, `tomcat10` and a JDK installed but not running:\n\n    cargo build --release \
         -p sessionmesh-nemesis --features redis\n    target/release/nemesis {}\n\n",
        words.join(" ")
    );
    let _ = write!(
        page,
        "Each row is a cluster of its own, on {NODES} hosts (network namespaces on one bridge of one machine), with {} \
         visitors. Each visitor sends one request after the other to the node where it is, and to the next node when \
         that one refuses, answers 5xx, or does not answer within {} ms: as a balancer with sticky sessions would. Half \
         of the requests write, each an attribute of its own, four of a hundred log out.\n\n",
        args.visitors,
        ANSWERS_WITHIN.as_millis()
    );
    page.push_str(COLUMNS);
    page.push_str(
        "\n| system | fault | acknowledged writes lost | on some nodes only | logouts undone | visitors logged out | \
         site unavailable, s | worst visitor, s |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(page, "{}", row.line());
    }
    let _ = write!(
        page,
        "\nA look is taken {} s after the fault was over, all nodes served again, and visitors had gone on for {} s. A \
         time without success counts from {GAP_MS} ms on.\n",
        SETTLES.as_secs() + AFTER.as_secs(),
        AFTER.as_secs(),
    );
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let (least, most) = (loads.iter().copied().fold(f64::MAX, f64::min), loads.iter().copied().fold(0.0, f64::max));
    let _ = write!(
        page,
        "\nThe machine has {processors} processors; its load was {least:.0} to {most:.0} during the run, which others shared if \
         it is more than these clusters make: then all times are longer than they must be, for all systems alike.\n"
    );
    page.push_str("\n## Versions\n\n");
    for version in versions {
        let _ = writeln!(page, "- {version}");
    }
    let redis = REDIS_SETTINGS.trim().replace('\n', "`, `");
    let sentinel = REDIS_SENTINEL_SETTINGS.join("`, `");
    let _ = write!(page, "{}", SETTINGS.replace("@redis@", &redis).replace("@sentinel@", &sentinel));
    page
}

const COLUMNS: &str = "- **Acknowledged writes lost**: writes that were answered 200, in sessions whose logout nobody asked \
for, which no node shows in the end. If a session is gone, all its writes are lost.
- **On some nodes only**: of the same writes, those that some nodes show in the end and others do not: lost with the next
  fail-over, or not, by chance.
- **Logouts undone**: logouts that were answered 200 and whose session some node serves in the end, to whoever still has
  the cookie.
- **Visitors logged out**: logins after which a visitor was told that there is no such session, at any time, although
  nobody had asked for its end.
- **Site unavailable**: from the beginning of the fault until the visitors leave, the time in which no visitor at all got a
  200. **Worst visitor**: the same for the one visitor that got the fewest, who tries again all the time.
";

const SETTINGS: &str = "
## Settings

- **Faults** are about one host and all that runs on it. Kill: `kill -9` of all of it, started again after 10 s. Frozen:
  `SIGSTOP` for all of it. Silent cut: no packet passes between the host and anybody, visitors included. Partition: no
  packet passes between that host and the two others, visitors reach all three, so both sides are written to. Rolling
  restart: `SIGTERM` to one application node after the other, each started and serving before the next one stops.
- **Sessionmesh**: the defaults, on three nodes, with seeds and a secret. `primary-backup` has one backup. The layer answers
  200 also if fewer nodes than wanted confirmed a change in time (`refuse_fewer_copies` is off, as by default).
- **Redis**: three boxes as in \"Example 2\" of the documentation of Sentinel, each with a Redis, a sentinel and an
  application node; the primary is on the host with the fault. Redis: `@redis@`. Sentinel: `@sentinel@`, quorum 2. The
  application: axum, tower-sessions with its `RedisStore` on a pool of 6 connections that finds the primary through the
  sentinels, connects again every 100 ms, and gives up a command after 1 s.
- **Tomcat**: the cluster of \"Clustering/Session Replication How-To\", with multicast membership (`frequency` 500,
  `dropTime` 3000). `channelSendOptions` 8 (asynchronous) is what the how-to shows; 6 waits until the other side has applied
  the change. `BackupManager` has the same value as `mapSendOptions`. The sessions are sticky; there is no `JvmRouteBinderValve`, since the
  balancer here keeps the route by itself.

## What cannot be compared

- Redis keeps sessions outside of the application: application nodes can all die and no session is lost, and a disk holds
  what was written up to a second before. Sessionmesh and Tomcat lose all when all nodes die.
- With Redis a session is one record, which is read and written as a whole. Here no visitor sends two requests at once, so
  what parallel requests overwrite does not show.
- `min-replicas-to-write 1` makes a primary that lost its replicas refuse writes after 10 s. Without it more is lost in a
  partition; `WAIT` after each write, which the store does not do, would lose less.
- `down-after-milliseconds` trades false alarms for time: 5 s is the value of the tutorial. Tomcat's `dropTime` of 3 s and
  Sessionmesh's `commit_deadline` of 500 ms are the same kind of choice.
- All hosts share one machine and its processors: times are those of this machine and of what else ran on it.
";
