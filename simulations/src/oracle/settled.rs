//! What all nodes say when nothing is under way.

use sessionmesh::SessionId;

use super::login::Birth;
use super::world::Safe;
use super::{Checked, Oracle, Said, Seen, name};

impl Oracle {
    /// The cluster has settled, and no request is under way: what each node says of each session.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn settled(&mut self, said: &[Said], now_ms: u64) -> Checked {
        for at in 0..self.logins.len() {
            for id in self.logins[at].ids.clone() {
                // For a while such an id shows the session under its next one.
                if self.logins[at].moved.contains_key(&id) {
                    continue;
                }
                let mut all = said.iter().filter_map(|(_, _, seen)| seen.get(&id));
                let Some(first) = all.next() else { continue };
                let told = !matches!(first, Seen::CannotTell(_));
                let detail = || format!("{id}: {first:?}");
                self.demand("when all has settled, every node can tell", told, detail, now_ms)?;
                if !self.may_have_faded(id, now_ms) {
                    let same = all.all(|other| other == first);
                    let said = || said.iter().map(|(node, _, seen)| (node, &seen[&id])).collect::<Vec<_>>();
                    let detail = || format!("{id}: {:?}", said());
                    self.demand("when all has settled, all nodes say the same", same, detail, now_ms)?;
                }
                self.count("checked: settled session");
                self.settle_one(at, id, first, now_ms)?;
            }
        }
        self.veterans = said.iter().map(|(node, life, _)| (*node, *life)).collect();
        self.world.settled(now_ms);
        Ok(())
    }

    fn settle_one(&mut self, at: usize, id: SessionId, seen: &Seen, now_ms: u64) -> Checked {
        let login = &self.logins[at];
        let last = login.ids.last() == Some(&id);
        let safely_ended = login
            .ends
            .get(&id)
            .is_some_and(|ends| ends.iter().any(|end| end.acked.is_some_and(|(_, s)| self.world.is_safe(s))));
        let lives = matches!(seen, Seen::Session(_));
        if safely_ended || login.over {
            let detail = || format!("{id} of login {at}: {:?}", login.ends.get(&id));
            self.demand("an ended session stays ended", !lives, detail, now_ms)?;
        }
        let safe = login.births.get(&id).is_some_and(|birth| self.world.is_safe(birth.safe));
        if last && safe && !login.may_be_over(id) && !self.may_have_faded(id, now_ms) {
            let detail = || format!("{id} of login {at}");
            self.demand("an acknowledged session is never lost", lives, detail, now_ms)?;
        }
        match seen {
            Seen::Session(values) => {
                if !last {
                    // The end of an earlier id was never confirmed, and is lost.
                    self.logins[at].vague = true;
                    self.forget_sweeps(at, now_ms);
                    self.logins[at].ends.remove(&id);
                    return Ok(());
                }
                if !login.vague {
                    self.check_values(at, values, now_ms, None)?;
                }
                let safe = Safe { since_ms: now_ms, copies: self.rules.spare };
                self.forget_sweeps(at, now_ms);
                let login = &mut self.logins[at];
                login.births.insert(id, Birth { acked_ms: now_ms, safe, settled_ms: Some(now_ms) });
                login.ends.remove(&id);
                let mut shows = Vec::new();
                for write in login.writes.values_mut() {
                    let shown = values.get(&name(write.key)).copied();
                    let stays = if write.removes { shown.is_none() } else { shown == Some(write.value) };
                    write.superseded |= !stays && !login.vague;
                    if stays && !write.removes {
                        write.acked = Some((now_ms, safe));
                        shows.push((write.key, write.value));
                    }
                }
                for open in login.open.values_mut() {
                    open.clear();
                }
                for (key, value) in shows {
                    login.open.entry(key).or_default().insert(value);
                    login.settle(key, value, now_ms);
                }
            }
            Seen::Nothing if last => {
                let faded = self.may_have_faded(id, now_ms);
                self.check_not_early(id, now_ms, now_ms, "settled")?;
                let login = &mut self.logins[at];
                // A visitor of a session that just faded may still have been heard by a node.
                login.over |= !login.vague && (!faded || safely_ended);
                login.faded |= faded;
            }
            Seen::Nothing | Seen::CannotTell(_) => {}
        }
        Ok(())
    }
}
