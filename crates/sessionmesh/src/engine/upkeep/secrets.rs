//! The file with the cluster secret, as it changes; and a reminder while traffic is not protected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::interval;
use tracing::{info, warn};

use super::followed::Followed;
use crate::config::ConfigError;
use crate::engine::state::node::Node;
use crate::security::secret::Secret;
use crate::security::secret_file::{self, SecretFileError};

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
    let mut file = Followed::new(node, vec![path], "`secret_file`").await;
    loop {
        file.changed().await;
        file.taken(read(path).await.map(|secrets| use_them(node, &secrets)));
    }
}

fn use_them(node: &Node, secrets: &[Secret]) {
    if node.ports.security.replace(secrets) {
        info!(secrets = secrets.len(), "the cluster secrets have changed; links that rely on others are closed");
    }
}

async fn read(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let path = path.to_owned();
    let reading = spawn_blocking(move || secret_file::read(&path));
    reading.await.unwrap_or_else(|failed| Err(SecretFileError::Unreadable(std::io::Error::other(failed))))
}

async fn remind(node: &Node) {
    let says = match (node.config.is_protected(), node.config.accept_plaintext, node.is_exposed()) {
        (true, true, _) => {
            "`accept_plaintext` is on: traffic between nodes is NOT protected; turn it off once all nodes have the \
             secret or certificates"
        }
        (true, false, _) => {
            if node.config.insecure {
                info!("`insecure` has no effect, since traffic between nodes is protected; remove it");
            }
            return;
        }
        (false, _, true) => {
            // Once: this is how it is meant to be.
            warn!(
                "INSECURE: traffic between nodes is neither encrypted nor authenticated, since there is neither a `secret` nor \
                 a `tls_cert`"
            );
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
