//! The files of certificates, as they change; and warnings before the certificate in use expires.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::followed::Followed;
use crate::config::ConfigError;
use crate::engine::state::node::Node;
use crate::event::Event;
use crate::security::certificates::{CertificateFileError, CertificateSettings, Certificates, Validity};

/// How often the time that is left is looked at.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// Between two warnings that a certificate is to be renewed.
const WARNED_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Follows the files, and warns, until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let following = async {
        tokio::join!(follow(&node), warn_of_the_end(&node));
    };
    node.lifecycle.stop.run_until_cancelled(following).await;
}

/// Reads the files now.
pub(crate) async fn reload(node: &Node) -> Result<(), ConfigError> {
    if node.config.certificates().is_none() {
        return Err(ConfigError::NoCertificates);
    }
    take(node).await.map_err(ConfigError::from)
}

async fn follow(node: &Node) {
    let Some(settings) = node.config.certificates() else { return };
    let files = vec![settings.cert, settings.key, settings.ca];
    let mut files = Followed::new(node, files, "`tls_cert`, `tls_key` or `tls_ca`").await;
    loop {
        files.changed().await;
        files.taken(take(node).await);
    }
}

/// Tries what the files say, and then uses it.
async fn take(node: &Node) -> Result<(), CertificateFileError> {
    let Some(CertificateSettings { cert, .. }) = node.config.certificates() else { return Ok(()) };
    let (config, clock) = (node.config.clone(), node.ports.clock.clone());
    let load = move || config.certificates().map(|settings| Certificates::load(settings, &clock)).transpose();
    let failed = |failed| CertificateFileError::Unreadable { file: cert.to_owned(), reason: io::Error::other(failed) };
    let loaded = spawn_blocking(load).await.unwrap_or_else(|error| Err(failed(error)))?;
    let Some(certificates) = loaded else { return Ok(()) };
    let until = humantime::format_rfc3339_seconds(certificates.validity.until);
    if node.ports.security.replace_certificates(certificates) {
        info!(%until, "the certificates have changed; links that rely on other authorities are closed");
    }
    Ok(())
}

async fn warn_of_the_end(node: &Node) {
    let mut warned: Option<Instant> = None;
    loop {
        let lasts = node.ports.security.of_certificate(|certificates| (certificates.validity, certificates.now()));
        match lasts.filter(|(validity, now)| validity.is_ending(*now)) {
            Some((validity, now)) if is_due(warned, &validity, now) => {
                warned = Some(Instant::now());
                node.emit(Event::CertificateExpiring { left: validity.remaining(now) });
            }
            Some(_) => {}
            None => warned = None,
        }
        sleep(LOOKED_AT).await;
    }
}

/// Once an hour, and in the last hour at each look.
fn is_due(warned: Option<Instant>, validity: &Validity, now: SystemTime) -> bool {
    let last_hour = validity.remaining(now) < WARNED_AGAIN;
    last_hour || warned.is_none_or(|at| at.elapsed() >= WARNED_AGAIN)
}
