//! A slow request, held where a test wants it.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Lets a test hold a request between what it loads and what it writes.
#[derive(Clone, Debug)]
pub struct Gate {
    loaded: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { loaded: Arc::new(Semaphore::new(0)), go: Arc::new(Semaphore::new(0)) }
    }
}

impl Gate {
    /// Waits until a slow request has loaded its session.
    ///
    /// # Panics
    ///
    /// Never: nobody closes it.
    pub async fn loaded(&self) {
        self.loaded.acquire().await.expect("never closed").forget();
    }

    /// Lets one slow request go on.
    pub fn open(&self) {
        self.go.add_permits(1);
    }

    /// What a slow request does once it has loaded its session.
    ///
    /// # Panics
    ///
    /// Never: nobody closes it.
    pub async fn pass(&self) {
        self.loaded.add_permits(1);
        self.go.acquire().await.expect("never closed").forget();
    }
}
