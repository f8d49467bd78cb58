//! Copies that a commit tells of: there are no fewer of them, and in calm they are all that can be had.
//!
//! Looked at in the stores of the nodes, so that nothing is believed which the library says of itself.

use std::collections::BTreeMap;

use sessionmesh::{AttributeHeld, ValueBytes};

use super::login::is_older;
use super::{Checked, Did, Oracle, Padded, Reply, Request, Seen, UsersHeld, What, name};

/// Why it is not known whether a record store did what it says.
pub(super) const SAVED: &str = "a record store does not say";

/// What the other nodes hold of something that was written.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Of each that takes requests.
    pub held: Vec<AttributeHeld>,
    /// So many are leaving, and may have handed it over.
    pub leaving: usize,
    /// What all nodes hold of the sessions of its user, if that matters.
    pub of_user: UsersHeld,
}

impl Oracle {
    /// What a record store did: it does not say with how many copies, and warns where others would say that there are too few. So in
    /// a long calm it counts as done, with the copies that there are; else as perhaps done.
    pub(super) fn decided(&self, request: &Request, reply: &Reply, others: Option<&Others>) -> Option<Reply> {
        let Did::Saved(id) = reply.did else { return None };
        let did = if self.rules.waits_for_owners() && self.works_since(request.start_ms) {
            let held = others.iter().flat_map(|others| &others.held);
            Did::Acked(id, held.filter(|held| self.is_exact_copy(request, held)).count())
        } else {
            Did::Unconfirmed(id, SAVED.to_owned())
        };
        Some(Reply { did, ..reply.clone() })
    }

    /// `others` is what the other nodes hold of the attribute that was written, or of any, now; none if that may have been
    /// otherwise when the answer was given.
    pub(super) fn check_copies(
        &self,
        request: &Request,
        reply: &Reply,
        others: Option<&Others>,
        now_ms: u64,
    ) -> Checked {
        let (Did::Acked(id, copies), Some(others)) = (&reply.did, others) else { return Ok(()) };
        let copies = *copies;
        if request.is_record
            || matches!(request.what, What::Count | What::Keep(_) | What::Rewrite(..))
            || (request.what == What::Move && reply.unchanged)
            || changed_nothing(request, reply)
        {
            // These say nothing of copies.
            return Ok(());
        }
        let start = request.start_ms;
        let holding = others.held.iter().filter(|held| self.is_copy(request, held)).count();
        let gone = self.world.gone_since(start) + others.leaving;
        let detail = || format!("{copies} copies of {id}, but {others:?} and {gone} are gone: {request:?}");
        self.demand("no commit tells of a copy that nobody has", copies <= holding + gone, detail, now_ms)?;
        if self.rules.copies_wanted() == 0 || !self.world.calm_from(start) || !self.world.trusting_from(start) {
            return Ok(());
        }
        let wanted = self.rules.copies_wanted().min(self.rules.spare).min(others.held.len());
        let detail = || format!("{copies} copies of {id}, and there could be {wanted}: {request:?}");
        self.demand("in calm a commit has all the copies that it can have", copies >= wanted, detail, now_ms)
    }

    /// Whether a node that holds this has what was changed, whatever that is newer than.
    fn is_exact_copy(&self, request: &Request, held: &AttributeHeld) -> bool {
        match (request.what.write(request.tab), held) {
            (Some((_, written, removes)), AttributeHeld::Is(value)) => {
                value.as_ref().and_then(number) == (!removes).then_some(written)
            }
            _ => self.is_copy(request, held),
        }
    }

    /// Whether a node that holds this has what was changed, or something newer.
    fn is_copy(&self, request: &Request, held: &AttributeHeld) -> bool {
        let login = &self.logins[request.login];
        match held {
            AttributeHeld::NoSession => false,
            AttributeHeld::Ended => true,
            AttributeHeld::Is(value) => match request.what.write(request.tab) {
                Some((key, written, _)) => {
                    let found = value.as_ref().and_then(number);
                    login.is_rewriting(key) || !is_older(found, &login.writes[&(key, written)], &login.writes)
                }
                // The end has not come there.
                None => request.what.gives_id(),
            },
        }
    }
}

/// Whether there was nothing to remove or to end.
fn changed_nothing(request: &Request, reply: &Reply) -> bool {
    let there = |is_there: &dyn Fn(&BTreeMap<String, u64>) -> bool| match &reply.seen {
        Some((Seen::Session(values), _)) => is_there(values),
        _ => false,
    };
    match request.what {
        What::Remove(_) => !there(&|values| values.contains_key(&name(request.tab))),
        What::Logout => !there(&|_| true),
        _ => false,
    }
}

/// The number that was written with a value.
fn number(value: &ValueBytes) -> Option<u64> {
    sessionmesh::json::from_json::<Padded>("", value).ok().map(|(number, _)| number)
}
