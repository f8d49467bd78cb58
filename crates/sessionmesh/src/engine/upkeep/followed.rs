//! Files that may change while the node runs, and are tried before they are used.

use std::fmt::Display;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use crate::engine::state::node::Node;

/// How often files are looked at. Changes are noticed whatever replaces them: an editor, `mv`, or Kubernetes by a link.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// Some files.
pub(super) struct Followed<'a> {
    files: Vec<&'a Path>,
    /// What is to be mended if they cannot be used.
    setting: &'static str,
    /// They do not keep to simulated time.
    is_simulated: bool,
    looks: Interval,
    seen: Vec<Stamp>,
    /// Why they cannot be used, as the log has it; empty if they can.
    said: String,
}

impl<'a> Followed<'a> {
    /// As they are now.
    pub(super) async fn new(node: &Node, files: Vec<&'a Path>, setting: &'static str) -> Self {
        let is_simulated = node.ports.is_seeded;
        let mut looks = interval(LOOKED_AT);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let seen = if is_simulated { Vec::new() } else { stamps(&files).await };
        Self { files, setting, is_simulated, looks, seen, said: String::new() }
    }

    /// Waits until one has changed, or could not be used at the last look: permissions may be mended, which changes no time.
    /// In a simulation none ever does.
    pub(super) async fn changed(&mut self) {
        if self.is_simulated {
            pending::<()>().await;
        }
        loop {
            self.looks.tick().await;
            let now = stamps(&self.files).await;
            if now != self.seen || !self.said.is_empty() {
                self.seen = now;
                return;
            }
        }
    }

    /// What became of the change. Why it cannot be used is logged once.
    pub(super) fn taken<E: Display>(&mut self, taken: Result<(), E>) {
        let why = taken.err().map_or_else(String::new, |reason| reason.to_string());
        if !why.is_empty() && why != self.said {
            warn!("{} cannot be used ({why}); what is in use stays", self.setting);
        }
        self.said = why;
    }
}

/// What differs after any change of a file: a link in its path counts by what it leads to.
type Stamp = Option<(SystemTime, u64, PathBuf)>;

async fn stamps(files: &[&Path]) -> Vec<Stamp> {
    let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), file.canonicalize().ok()?))
    };
    spawn_blocking(move || files.iter().map(stamp).collect()).await.unwrap_or_default()
}
