//! How the program is told to stop.

use crate::failure::Failure;

/// Ctrl-C and SIGTERM, as often as they come.
#[derive(Debug)]
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on, so that no signal ends the process unseen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::open().map_err(|error| Failure::Failed(Some(format!("cannot listen for signals: {error}"))))
    }

    #[cfg(unix)]
    fn open() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "listening can fail on Unix")]
    fn open() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal to stop.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
