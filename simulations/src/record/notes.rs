//! What the library logs, with the node that it happened on.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::timeline::Note;
use super::{Recorder, clip, node_named, sim_ms};

/// The longest note, in characters.
const TEXT_CHARS_MAX: usize = 300;

impl Recorder {
    /// Runs `play`, recording what the library logs on this thread. If the recorder is off, nothing changes.
    pub fn noting<T>(&self, play: impl FnOnce() -> T) -> T {
        if !self.is_on() {
            return play();
        }
        let subscriber = tracing_subscriber::registry().with(Notes(self.clone()));
        tracing::subscriber::with_default(subscriber, play)
    }
}

struct Notes(Recorder);

/// The node that a span is about, as an extension of the span.
struct OnNode(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Notes {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        match metadata.is_span() {
            // turmoil enters this one around everything that happens on a host.
            true => metadata.name() == "node",
            false => metadata.target().starts_with("sessionmesh") && *metadata.level() <= Level::DEBUG,
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut name = Words::default();
        attributes.record(&mut name);
        if let (Some(node), Some(span)) = (name.node, context.span(id)) {
            span.extensions_mut().insert(OnNode(node));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let spans = context.event_scope(event);
        let node = spans.into_iter().flatten().find_map(|span| span.extensions().get::<OnNode>().map(|on| on.0));
        let Some(mut recording) = self.0.recording() else { return };
        let at_ms = recording.at(sim_ms());
        let text = clip(words.text.trim(), TEXT_CHARS_MAX);
        recording.timeline.notes.push(Note { at_ms, node, level: *event.metadata().level(), text });
    }
}

#[derive(Default)]
struct Words {
    text: String,
    node: Option<usize>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            self.node = node_named(value);
        }
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_knows_its_node_and_others_are_not_taken() {
        let recorder = Recorder::on();
        recorder.noting(|| {
            tracing::warn!(target: "sessionmesh::somewhere", "nowhere");
            let _node = tracing::info_span!("node", name = "n2").entered();
            let _other = tracing::info_span!("other").entered();
            tracing::debug!(target: "sessionmesh::somewhere", peer = %"n1", bytes = 7, "it happened");
            tracing::trace!(target: "sessionmesh::somewhere", "too small");
            tracing::error!(target: "chitchat", "not ours");
        });
        let notes = recorder.timeline().notes;
        let notes: Vec<_> = notes.iter().map(|note| (note.node, note.level, note.text.as_str())).collect();
        assert_eq!(notes, [(None, Level::WARN, "nowhere"), (Some(2), Level::DEBUG, "it happened peer=n1 bytes=7")]);
    }
}
