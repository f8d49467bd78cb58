//! What clients ask and are told.

use super::Recorder;
use super::timeline::{Answer, Outcome, Request as Recorded};
use crate::oracle::{Did, Reply, Request, Seen, What, name};

impl Recorder {
    /// A client of this name sends a request.
    pub fn begin(&self, client: &str, request: &Request) {
        let Some(mut recording) = self.recording() else { return };
        let from_ms = recording.at(Some(request.start_ms));
        let place = recording.timeline.requests.len();
        recording.requests.insert(client.to_owned(), place);
        let what = asked(request);
        let (node, client) = (request.node, client.to_owned());
        recording.timeline.requests.push(Recorded { node, client, what, from_ms, answer: None });
    }

    /// The answer to the request of this client has come; none if the node died over it.
    pub fn finish(&self, client: &str, reply: Option<&Reply>, now_ms: u64) {
        let Some(mut recording) = self.recording() else { return };
        let at_ms = recording.at(Some(now_ms));
        let (text, outcome) = told(reply);
        if let Some(place) = recording.requests.remove(client) {
            recording.timeline.requests[place].answer = Some(Answer { at_ms, text, outcome });
        }
    }
}

fn asked(request: &Request) -> String {
    let what = match request.what {
        What::Create(value) => format!("create tab{}={value}", request.tab),
        What::Read => "read".to_owned(),
        What::Write(value, 0) => format!("write tab{}={value}", request.tab),
        What::Write(value, pause_ms) => format!("write tab{}={value} after {pause_ms} ms", request.tab),
        What::Share(value) => format!("write shared={value}"),
        What::Count => "count".to_owned(),
        What::Remove(_) => format!("remove tab{}", request.tab),
        What::Logout => "log out".to_owned(),
        What::Renew => "renew".to_owned(),
        What::Keep(pause_ms) => format!("keep for {pause_ms} ms"),
        What::Touch => format!("touch after {} ms", request.pause_ms),
        What::Rewrite(key) => format!("write {} again after {} ms", name(key), request.pause_ms),
        What::Held => "read what is held".to_owned(),
        What::TooLarge(value) => format!("write tab{}={value}, too large", request.tab),
        What::Move => "move".to_owned(),
        What::ReadMoved => "read under the id before".to_owned(),
        What::List => "list the user's".to_owned(),
        What::EndAll => "end all of the user's".to_owned(),
        What::EndOthers => "end the user's others".to_owned(),
    };
    match request.id {
        Some(id) => format!("{what} {id}"),
        None => what,
    }
}

fn told(reply: Option<&Reply>) -> (String, Outcome) {
    let Some(reply) = reply else { return ("nothing: the node died over it".to_owned(), Outcome::Lost) };
    let (seen, seen_outcome) = match &reply.seen {
        None => (None, Outcome::Done),
        Some((Seen::CannotTell(why), _)) => (Some(format!("cannot tell: {why}")), Outcome::Unsure),
        Some((Seen::Nothing, _)) => (Some("there is none".to_owned()), Outcome::Refused),
        Some((Seen::Session(values), _)) => {
            let values: Vec<_> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
            (Some(format!("saw {}", values.join(" "))), Outcome::Done)
        }
    };
    let (did, did_outcome) = match &reply.did {
        Did::Nothing => (None, seen_outcome),
        Did::Acked(id, copies) => (Some(format!("{id} confirmed by {copies}")), Outcome::Done),
        Did::Saved(id) => (Some(format!("{id} saved")), Outcome::Done),
        Did::Unconfirmed(id, why) => (Some(format!("{id} not confirmed: {why}")), Outcome::Unsure),
        Did::Refused(why) => (Some(format!("refused: {why}")), Outcome::Refused),
    };
    let counted = reply.counted.map(|number| format!("counter={number}"));
    let did = counted.or(did);
    let users = reply.users.as_ref().map(|users| format!("{users:?}"));
    let did = did.or(users);
    let text = seen.into_iter().chain(did).collect::<Vec<_>>().join("; ");
    (text, did_outcome)
}
