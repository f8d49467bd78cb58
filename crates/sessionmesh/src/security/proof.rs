//! How long it counts what the other side of a connection has proved.

use std::future::pending;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What a connection was proved with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    /// Ends when the key or the authority is taken out. None: nothing was proved.
    retired: Option<CancellationToken>,
    /// When the certificate expires. None: never.
    expires: Option<Instant>,
}

impl Proof {
    /// Counts until this ends.
    pub(super) const fn until_retired(retired: Option<CancellationToken>) -> Self {
        Self { retired, expires: None }
    }

    /// Counts until this ends, or that time comes.
    pub(super) const fn until(retired: CancellationToken, expires: Option<Instant>) -> Self {
        Self { retired: Some(retired), expires }
    }

    /// Whether it counts no more, so that the connection must end.
    pub(crate) fn is_void(&self) -> bool {
        self.retired.as_ref().is_some_and(CancellationToken::is_cancelled)
            || self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Waits until it counts no more.
    pub(crate) async fn voided(&self) {
        let retired = async {
            match &self.retired {
                Some(retired) => retired.cancelled().await,
                None => pending().await,
            }
        };
        let expired = async {
            match self.expires {
                Some(expires) => sleep_until(expires).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = retired => {}
            () = expired => {}
        }
    }
}
