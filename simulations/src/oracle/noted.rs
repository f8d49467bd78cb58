//! What is remembered of an answer: what was seen, and what was changed.

use sessionmesh::SessionId;

use super::login::{Birth, End, Sighting};
use super::world::Safe;
use super::{Did, Oracle, Reply, Request, Seen, What};

impl Oracle {
    pub(super) fn note_seen(&mut self, request: &Request, id: SessionId, seen: &Seen, now_ms: u64) {
        let Seen::Session(_) = seen else { return };
        let login = &mut self.logins[request.login];
        login.used(id, request);
        // Who asks others may be told first of a write that is under way, and then by one that does not have it yet.
        let owner = request.holders.contains(&(request.node, request.life));
        for key in login.keys().into_iter().filter(|_| owner) {
            let value = seen.value(key);
            let place = (id, key, request.node, request.life);
            login.sightings.insert(place, Sighting { value, at_ms: now_ms });
        }
    }

    pub(super) fn note_change(&mut self, request: &Request, reply: &Reply, now_ms: u64) {
        self.count(match (request.what, &reply.did) {
            (_, Did::Refused(_)) => "refused",
            (What::Read, _) if request.is_record => "record loaded",
            (What::Logout, Did::Acked(..)) if request.is_record => "record deleted",
            (What::Renew, Did::Acked(..)) if request.is_record => "record renewed",
            (_, Did::Acked(..)) if request.is_record => "record saved",
            (What::Create(_), _) => "created",
            (What::Read, _) => "read",
            (What::Write(..) | What::Share(_), Did::Acked(..)) => "written",
            (What::Remove(_), Did::Acked(..)) => "removed",
            (What::Count, Did::Acked(..)) => "counted",
            (What::Logout, Did::Acked(..)) => "logged out",
            (What::Renew, Did::Acked(..)) => "renewed",
            (What::Keep(_), Did::Acked(..)) => "kept and used",
            (What::Touch, _) => "touched",
            (What::Rewrite(_), Did::Acked(..)) if reply.unchanged => "written again, unchanged",
            (What::Rewrite(_), Did::Acked(..)) => "written again, over another",
            (What::Move, Did::Acked(..)) if reply.unchanged => "at home",
            (What::Move, Did::Acked(..)) => "moved",
            (What::ReadMoved, _) => "read under the id before",
            (What::Held, _) => "read as held",
            _ => "other",
        });
        // A touch does not say whether there was anything to touch.
        let lived = request.id.is_some_and(|id| !self.may_have_faded(id, now_ms));
        let spare = self.rules.spare;
        let safe = |copies: usize| Safe { since_ms: request.start_ms, copies: copies.min(spare) };
        let login = &mut self.logins[request.login];
        let (id, copies) = match &reply.did {
            Did::Acked(id, copies) => (*id, Some(*copies)),
            Did::Unconfirmed(id, _) => (*id, None),
            Did::Nothing | Did::Refused(_) | Did::Saved(_) => {
                if let (What::Touch, Some((Seen::Session(_), _)), Some(id)) = (request.what, &reply.seen, request.id)
                    && lived
                    && !reply.unchanged
                {
                    let looked_ms = now_ms.saturating_sub(self.rules.slack_ms);
                    login.used_again(id, looked_ms.max(request.start_ms));
                }
                if let (Did::Refused(_), Some(write)) = (&reply.did, login.write_of(request)) {
                    write.refused = true;
                }
                // Nothing was ended, so nothing excuses that it is not there.
                if let (What::Logout | What::Renew | What::Move, Some(id)) = (request.what, request.id) {
                    let is_mine = |end: &End| (end.start_ms, end.node) == (request.start_ms, request.node);
                    if let Some(ends) = login.ends.get_mut(&id) {
                        ends.retain(|end| !is_mine(end));
                    }
                    login.ends.retain(|_, ends| !ends.is_empty());
                }
                if request.what.gives_id() {
                    // Between the two halves of it nobody may have the session.
                    login.vague |= request.is_record && matches!(reply.did, Did::Refused(_));
                    login.close_renewal(request, now_ms);
                }
                return;
            }
        };
        self.by_id.insert(id, request.login);
        login.touched_ms.insert(id, now_ms);
        if let What::Keep(_) | What::Rewrite(_) = request.what {
            // It was used again after the pause.
            let began_ms = now_ms.saturating_sub(reply.took_ms + self.rules.slack_ms);
            login.used_again(id, began_ms.max(request.start_ms));
        }
        if let (What::Create(_) | What::Renew | What::Move, Some(copies)) = (request.what, copies)
            && !reply.unchanged
        {
            login.births.insert(id, Birth { acked_ms: now_ms, safe: safe(copies), settled_ms: None });
        }
        if matches!(request.what, What::Create(_)) {
            login.ids.push(id);
            login.used(id, request);
        }
        let crossed = login.is_between_ids(id, request, now_ms);
        if let Some(write) = login.write_of(request) {
            // Whether a record store has done it is not known.
            write.made = copies.is_some() || !request.is_record;
            write.saw = reply.seen.as_ref().and_then(|(seen, _)| seen.value(write.key));
            if crossed {
                write.crossed(request.start_ms);
            }
            write.acked = copies.map(|copies| (now_ms, safe(copies)));
        }
        if let (What::Logout | What::Renew, Some(copies), Some(old)) = (request.what, copies, request.id) {
            let mine = |end: &&mut End| end.start_ms == request.start_ms && end.node == request.node;
            if let Some(end) = login.ends.get_mut(&old).and_then(|ends| ends.iter_mut().find(mine)) {
                end.acked = Some((now_ms, safe(copies)));
            }
        }
        if request.what.gives_id() {
            if request.what == What::Move {
                login.note_moved(request, id, reply, now_ms);
            }
            login.vague |= request.is_record && copies.is_none();
            if !login.ids.contains(&id) {
                login.ids.push(id);
                login.used(id, request);
                login.leave_behind(reply);
            }
            login.close_renewal(request, now_ms);
        }
    }
}
