//! A visitor with its tabs, and what each of them waits for.

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::oracle::{Did, Oracle, Reply, Request, Seen, What};

#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) node: usize,
    pub(super) login: Option<usize>,
    /// The login before, which a late tab may still use.
    pub(super) former: Option<usize>,
    pub(super) tabs: Vec<Tab>,
    /// Nothing is sent before.
    pub(super) absent_until_ms: u64,
}

impl Visitor {
    pub(super) fn is_busy_with(&self, what: impl Fn(What) -> bool) -> bool {
        self.tabs.iter().any(|tab| tab.under_way.as_ref().is_some_and(|under_way| what(under_way.request.what)))
    }
}

#[derive(Debug)]
pub(super) struct Tab {
    pub(super) next_ms: u64,
    pub(super) under_way: Option<UnderWay>,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) request: Request,
    pub(super) answer: oneshot::Receiver<Option<Reply>>,
}

impl UnderWay {
    /// The answer, if there is one; none in it if the node died over it, or the visitor did not wait for it.
    #[allow(clippy::option_option, reason = "not answered yet and never answered are different")]
    pub(super) fn reply(&mut self) -> Option<Option<Reply>> {
        match self.answer.try_recv() {
            Ok(reply) => Some(reply),
            Err(TryRecvError::Closed) => Some(None),
            Err(TryRecvError::Empty) => None,
        }
    }
}

/// What a visitor makes of an answer.
pub(super) fn follow(visitor: &mut Visitor, request: &Request, reply: Option<&Reply>, oracle: &Oracle) {
    let current = oracle.current(request.login);
    let did = reply.map(|reply| &reply.did);
    match (request.what, did) {
        (What::Create(_), Some(Did::Acked(..) | Did::Saved(_) | Did::Unconfirmed(..))) => {
            visitor.login = Some(request.login)
        }
        // Which id counts is not known.
        (What::Renew | What::Move, _) if visitor.login == Some(request.login) && oracle.is_vague(request.login) => {
            visitor.former = visitor.login.take();
        }
        _ => {}
    }
    // The node says that the session is gone.
    let gone = reply.is_some_and(|reply| matches!(reply.seen, Some((Seen::Nothing, _))));
    if gone && visitor.login == Some(request.login) && request.id == current {
        visitor.former = visitor.login.take();
    }
}
