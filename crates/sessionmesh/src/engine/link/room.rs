//! One connection's part of the memory for messages that are arriving.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::NodeHash;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use crate::engine::state::node::Node;

/// Who sends a message of several frames must be a member after so many commit deadlines: a newcomer may be in the view of
/// others a little later than they are in its own.
const STRANGER_DEADLINES: u32 = 2;
const LOOK: Duration = Duration::from_millis(20);

/// One connection's part of it. Who has to wait for room reads nothing meanwhile. A message takes room for its frame
/// before room for the rest, always in this order, and all for the rest at once, so none waits for one that waits for it.
#[derive(Debug)]
pub(crate) struct Room {
    node: Arc<Node>,
    from: NodeHash,
    frame: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) const fn new(node: Arc<Node>, from: NodeHash) -> Self {
        Self { node, from, frame: None, large: None }
    }

    /// Waits for room for one frame.
    pub(crate) async fn for_frame(&mut self) -> io::Result<()> {
        if self.frame.is_none() {
            let inbox = &self.node.bounds.inbox;
            let frames = if self.is_members() { &inbox.frames } else { &inbox.strangers };
            self.frame = Some(frames.clone().acquire_owned().await.map_err(io::Error::other)?);
        }
        Ok(())
    }

    /// Waits for room for a message of any size.
    ///
    /// # Errors
    ///
    /// It is no member that sends it.
    pub(crate) async fn for_message(&mut self) -> io::Result<()> {
        if self.large.is_some() {
            return Ok(());
        }
        let until = Instant::now() + self.node.config.commit_deadline * STRANGER_DEADLINES;
        while !self.is_members() {
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a large message of a node that is no member"));
            }
            sleep(LOOK).await;
        }
        self.large = Some(self.node.bounds.inbox.large.clone().acquire_owned().await.map_err(io::Error::other)?);
        Ok(())
    }

    /// The message has been used.
    pub(crate) fn give_back(&mut self) {
        (self.frame, self.large) = (None, None);
    }

    fn is_members(&self) -> bool {
        self.node.cluster.topology.load().peer(self.from).is_some()
    }
}
