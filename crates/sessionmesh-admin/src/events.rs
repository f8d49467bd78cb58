//! Events and figures as they come: server-sent events, as browsers read them (`EventSource`).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use serde_json::{Value, json};
use sessionmesh::{Clock as _, Event, Events, Mesh, SystemClock};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::show;

/// Streams that may be open at once, of one node.
pub(crate) const STREAMS_MAX: usize = 64;
/// How often figures are told; and if nothing else is, something, so that a connection that is dead is noticed.
const TICK: Duration = Duration::from_secs(1);
/// So many ticks without a word are followed by an empty one.
const SILENT_TICKS_MAX: u32 = 15;

/// What is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The events of single sessions, too: there may be thousands a second.
    pub(crate) sessions: bool,
    /// The statistics and the members, once a second.
    pub(crate) figures: bool,
}

impl Wanted {
    /// As the query of the request says: `sessions=true&figures=true`.
    pub(crate) fn of(query: Option<&str>) -> Self {
        let has = |name: &str| {
            query.into_iter().flat_map(|query| query.split('&')).any(|pair| pair == format!("{name}=true"))
        };
        Self { sessions: has("sessions"), figures: has("figures") }
    }
}

/// The body of `/v1/events`. It ends when the node stops.
pub struct EventStream(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream(..)")
    }
}

impl Stream for EventStream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.as_mut().poll_next(context)
    }
}

/// Counts the streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Open(Arc<AtomicUsize>);

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Open {
    /// One more, if there are not too many.
    pub(crate) fn stream(&self, mesh: &Mesh, wanted: Wanted) -> Option<EventStream> {
        let counted = Counted(self.0.clone());
        if self.0.fetch_add(1, Ordering::AcqRel) >= STREAMS_MAX {
            return None;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let telling =
            Telling { mesh: mesh.clone(), events: mesh.events(), ticks, wanted, silent: 0, _counted: counted };
        Some(EventStream(Box::pin(unfold(telling, |mut telling| async move {
            let told = telling.next().await?;
            Some((Bytes::from(told), telling))
        }))))
    }
}

struct Telling {
    mesh: Mesh,
    events: Events,
    ticks: Interval,
    wanted: Wanted,
    silent: u32,
    _counted: Counted,
}

impl Telling {
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => {
                    let event = event?;
                    if self.wanted.sessions || event.session().is_none() {
                        self.silent = 0;
                        return Some(framed("event", &shown(&event)));
                    }
                }
                () = self.mesh.stopped() => return None,
                _ = self.ticks.tick() => {
                    if self.wanted.figures {
                        let figures = json!({ "stats": show::stats(&self.mesh), "members": show::members(&self.mesh).await["members"] });
                        return Some(framed("figures", &figures));
                    }
                    self.silent += 1;
                    if self.silent >= SILENT_TICKS_MAX {
                        self.silent = 0;
                        return Some(": still here\n\n".to_owned());
                    }
                }
            }
        }
    }
}

fn shown(event: &Event) -> Value {
    json!({ "name": event.name(), "at_ms": SystemClock.wall_ms(), "text": event.to_string() })
}

/// JSON has no line feeds, so it is one line.
fn framed(kind: &str, data: &Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_wanted() {
        assert_eq!(Wanted::of(None), Wanted::default());
        assert_eq!(Wanted::of(Some("sessions=true&x=1&figures=true")), Wanted { sessions: true, figures: true });
        assert_eq!(Wanted::of(Some("sessions=1&figures=false")), Wanted::default());
    }

    #[test]
    fn each_is_one_line_of_data() {
        let name: Arc<str> = "a\nb".into();
        let text = framed("event", &shown(&Event::MemberUp { name }));
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (4, "event: event", ""));
        assert!(lines[1].starts_with("data: {") && lines[1].contains("member_up"));
    }
}
