//! When does a node know of another one?

use anyhow::{Context as _, bail};
use sessionmesh::{Event, Mesh};
use tokio::task::JoinHandle;

use super::protocol::Answer;
use crate::monotonic;

/// A look-out for one newcomer. It looks until the newcomer is there or this node ends.
pub(super) struct Arrival(JoinHandle<anyhow::Result<Answer>>);

impl Arrival {
    /// Looks from now on. That the member is there already is an error.
    pub(super) fn expect(mesh: &Mesh, expected: String) -> anyhow::Result<Self> {
        // Subscribed before the look at the view: nobody comes between them unseen.
        let mut events = mesh.events();
        if mesh.members().iter().any(|member| *member.name == *expected) {
            bail!("{expected} is there already");
        }
        Ok(Self(tokio::spawn(async move {
            loop {
                let event = events.next().await.context("this node ended before anybody came")?;
                if matches!(&event, Event::MemberUp { name } if **name == *expected) {
                    return Ok(Answer::At { at_ns: monotonic::now_ns() });
                }
            }
        })))
    }

    /// Waits for it.
    pub(super) async fn seen(self) -> anyhow::Result<Answer> {
        self.0.await?
    }
}
