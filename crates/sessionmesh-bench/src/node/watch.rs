//! When does a node act on the death of another one?

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sessionmesh::Mesh;
use tokio::sync::oneshot;

use super::protocol::Answer;
use crate::monotonic;

/// Between two looks. A thread of its own looks, since tokio's timers are five times as coarse.
const LOOK: Duration = Duration::from_micros(200);

/// A look-out for one peer.
pub(super) struct Watch(oneshot::Receiver<Answer>);

impl Watch {
    /// Looks from now on whether `peer` is out of the view, or suspected.
    pub(super) async fn start(mesh: Mesh, peer: String, patience: Duration) -> anyhow::Result<Self> {
        let (looks, looking) = oneshot::channel();
        let (found, seen) = oneshot::channel();
        thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let until = Instant::now() + patience;
            let mut before_the_first = Some(looks);
            // It ends, too, when nobody waits any more.
            while !found.is_closed() && Instant::now() < until {
                let removed = !mesh.members().iter().any(|member| *member.name == *peer);
                if removed || mesh.suspected().contains(&peer) {
                    let at_ns = Some(monotonic::now_ns());
                    let _ = found.send(Answer::Seen { at_ns, removed });
                    return;
                }
                if let Some(looks) = before_the_first.take() {
                    let _ = looks.send(());
                }
                thread::sleep(LOOK);
            }
            let _ = found.send(Answer::Seen { at_ns: None, removed: false });
        })?;
        looking.await.context("the peer to watch is not there, or suspected already")?;
        Ok(Self(seen))
    }

    /// What it saw, at the latest when its patience is over.
    pub(super) async fn seen(self) -> anyhow::Result<Answer> {
        self.0.await.context("nothing watches any more")
    }
}
