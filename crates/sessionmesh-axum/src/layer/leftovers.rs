//! What was changed after the head of the response had left, and was not committed by hand.

use tokio::runtime::Handle;
use tracing::warn;

use super::visit::Visit;

/// When the last handle of a session is gone, with the body that was streamed or the WebSocket that was closed, what they
/// changed is committed. Before the head has left, this is the layer's to do, and what it did not commit is dropped on
/// purpose.
impl Drop for Visit {
    fn drop(&mut self) {
        let (state, site) = self.take_leftovers();
        if !state.answered || !state.is_changed() {
            return;
        }
        let (task, session) = match state.task(&site.moves) {
            Ok(Some(task)) => match task.session.clone() {
                Some(session) => (task, session),
                None => return,
            },
            Ok(None) => return,
            Err(reason) => return warn!(%reason, "changes to the session during the body of a response are dropped"),
        };
        let Ok(runtime) = Handle::try_current() else {
            return warn!("changes to the session during the body of a response are dropped; it ended outside tokio");
        };
        runtime.spawn(async move {
            if let Err(error) = task.commit(&session).await {
                warn!(%error, "the commit of changes to the session during the body of a response returned an error");
            }
        });
    }
}
