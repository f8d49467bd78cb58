//! The file with the cluster secret, as it changes; and a reminder while traffic is not protected.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::ConfigError;
use crate::engine::state::node::Node;
use crate::security::secret::Secret;
use crate::security::secret_file::{self, LOOKED_AT, SecretFileError};

/// Between two reminders.
const REMINDED: Duration = Duration::from_secs(60);

/// Follows the file, and reminds, until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let following = async {
        tokio::join!(follow(&node), remind(&node));
    };
    node.lifecycle.stop.run_until_cancelled(following).await;
}

/// Reads the file now. How many secrets are in use then.
pub(crate) async fn reload(node: &Node) -> Result<usize, ConfigError> {
    let path = node.config.secret_file.clone().ok_or(ConfigError::NoSecretFile)?;
    let secrets = read(&path).await.map_err(|reason| ConfigError::SecretFile { path, reason })?;
    use_them(node, &secrets);
    Ok(secrets.len())
}

async fn follow(node: &Node) {
    let Some(path) = &node.config.secret_file else { return };
    let mut looks = interval(LOOKED_AT);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = stamp(path).await;
    let mut said = String::new();
    loop {
        looks.tick().await;
        let stamp = stamp(path).await;
        // What could not be used is looked at again: its permissions may be mended, which changes no time.
        if stamp == seen && said.is_empty() {
            continue;
        }
        seen = stamp;
        match read(path).await {
            Ok(secrets) => {
                said.clear();
                use_them(node, &secrets);
            }
            Err(reason) => {
                let why = reason.to_string();
                if why != said {
                    warn!(path = %path.display(), "`secret_file` cannot be used ({why}); the secrets in use stay");
                    said = why;
                }
            }
        }
    }
}

fn use_them(node: &Node, secrets: &[Secret]) {
    if node.ports.security.replace(secrets) {
        info!(secrets = secrets.len(), "the cluster secrets have changed; links that rely on others are closed");
    }
}

async fn read(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || secret_file::read(&path));
    reading.await.unwrap_or_else(|failed| Err(SecretFileError::Unreadable(std::io::Error::other(failed))))
}

/// What differs after any change of the file: a link in its path counts by what it leads to.
async fn stamp(path: &Path) -> Option<(SystemTime, u64, PathBuf)> {
    let path = path.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let metadata = std::fs::metadata(&path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), path.canonicalize().ok()?))
    });
    looking.await.ok().flatten()
}

async fn remind(node: &Node) {
    let says = match (node.config.has_secret(), node.config.accept_plaintext, node.is_exposed()) {
        (true, true, _) => {
            "`accept_plaintext` is on: traffic between nodes is NOT protected; turn it off once all nodes have the secret"
        }
        (true, false, _) => {
            if node.config.insecure {
                info!("`insecure` has no effect, since there is a secret; remove it");
            }
            return;
        }
        (false, _, true) => {
            // Once: this is how it is meant to be.
            warn!("INSECURE: traffic between nodes is neither encrypted nor authenticated, since there is no `secret`");
            return;
        }
        (false, _, false) => return,
    };
    let mut reminders = interval(REMINDED);
    loop {
        reminders.tick().await;
        warn!("{says}");
    }
}
