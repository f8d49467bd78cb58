//! The picture itself.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use tracing::Level;

use super::Escaped;
use crate::record::clip;
use crate::record::timeline::{Carrier, Disturbed, Fate, Message, Outcome, Request, Sort, Timeline, Topic, Window};

/// Where the first node's line is, in pixels; left of it are the time and the labels of requests.
const FIRST_PX: u64 = 250;
/// Between the lines of two nodes, in pixels: room for a label on each side.
const BETWEEN_PX: u64 = 350;
/// From the last node's line to the marks, in pixels.
const MARKS_AFTER_PX: u64 = 230;
/// Room for the marks, in pixels.
const MARKS_PX: u64 = 330;
/// Between the bars of requests that one node serves at the same time, in pixels.
const LANE_PX: u64 = 7;
/// The longest label of a message or request, in characters. All of the text is in its tooltip.
const LABEL_CHARS_MAX: usize = 30;
/// After so long a lost message ends, in milliseconds.
const LOST_MS: f64 = 8.0;
/// The least and the greatest height of a drawing at first, in pixels.
const HEIGHT_PX: (usize, usize) = (3_000, 12_000);
/// How much of it a message or request needs.
const EACH_PX: usize = 6;

/// One part of a timeline, drawn.
pub(super) struct Drawing<'a> {
    timeline: &'a Timeline,
    window: Window,
    background: bool,
    px_per_ms: f64,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(timeline: &'a Timeline, window: Window, background: bool) -> Self {
        let length_ms = (window.to_ms - window.from_ms) as f64;
        let mut drawing = Self { timeline, window, background, px_per_ms: 1.0 };
        let requests = timeline.requests.iter().filter(|request| window.touches(request.from_ms, request.from_ms));
        let crowd = drawing.messages().filter(|message| !message.is_background()).count() + requests.count();
        let height_px = (EACH_PX * crowd).clamp(HEIGHT_PX.0, HEIGHT_PX.1) as f64;
        drawing.px_per_ms = (height_px / length_ms).clamp(0.2, 4.0);
        drawing
    }

    /// The names of the nodes, to stay above the drawing.
    pub(super) fn names(&self) -> String {
        let mut svg = format!("<svg width=\"{}\" height=\"22\">", self.width());
        for node in 0..self.timeline.nodes {
            let _ = write!(svg, "<text class=\"name\" x=\"{}\" y=\"16\">n{node}</text>", column(node));
        }
        svg + "</svg>\n"
    }

    /// Writes everything, from the back to the front.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let length_ms = self.window.to_ms - self.window.from_ms;
        let height = length_ms as f64 * self.px_per_ms + 80.0;
        let (width, scale) = (self.width(), self.px_per_ms);
        writeln!(
            out,
            "<svg id=\"run\" width=\"{width}\" height=\"{height:.0}\" data-px=\"{scale}\" data-ms=\"{length_ms}\">"
        )?;
        writeln!(out, "<defs>")?;
        for topic in ["change", "answer", "question", "audit", "presence", "quiet"] {
            let shape = "markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"";
            writeln!(
                out,
                "<marker id=\"to-{topic}\" class=\"{topic}\" refX=\"8\" refY=\"4\" {shape}>\
                 <path d=\"M0 1L8 4L0 7z\"/></marker>"
            )?;
        }
        let shape = "markerWidth=\"10\" markerHeight=\"10\" markerUnits=\"userSpaceOnUse\"";
        writeln!(
            out,
            "<marker id=\"lost\" refX=\"5\" refY=\"5\" {shape}><path d=\"M1 1L9 9M9 1L1 9\"/></marker>\n</defs>"
        )?;
        writeln!(out, "<g transform=\"translate(0 24)\">")?;
        self.axis(out)?;
        let bands = self.bands();
        for band in &bands {
            self.band(band, out)?;
        }
        self.lives(out)?;
        self.marks(out)?;
        self.requests(out)?;
        for message in self.messages() {
            self.message(message, out)?;
        }
        self.notes(out)?;
        for band in &bands {
            self.band_label(band, out)?;
        }
        self.violation(out)?;
        writeln!(out, "</g>\n</svg>")
    }

    /// The messages that are drawn.
    fn messages(&self) -> impl Iterator<Item = &'a Message> {
        let visible = |message: &&Message| {
            let end_ms = message.arrived_ms().unwrap_or(message.sent_ms);
            (self.background || !message.is_background()) && self.window.touches(message.sent_ms, end_ms)
        };
        self.timeline.messages.iter().filter(visible)
    }

    fn axis(&self, out: &mut impl Write) -> io::Result<()> {
        let length_ms = self.window.to_ms - self.window.from_ms;
        // Some hundred ticks, of which the script shows as many as there is room for, the rounder ones first.
        let finest = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|step| length_ms / step <= 400);
        let finest = finest.unwrap_or(1_000);
        let all = (self.window.from_ms.div_ceil(finest)..=self.window.to_ms / finest).map(|tick| tick * finest);
        let roundness = |tick: u64| [1_000, 500, 100, 50, 10, 5].into_iter().find(|step| tick.is_multiple_of(*step));
        let mut ticks: Vec<(u64, u64)> = all.map(|tick| (u64::MAX - roundness(tick).unwrap_or(1), tick)).collect();
        ticks.sort_unstable();
        for (_, tick) in ticks {
            let (y, right) = (self.y(tick), self.width() - MARKS_PX);
            write!(out, "<g class=\"tick\"><line x1=\"54\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>")?;
            writeln!(out, "<text class=\"lab\" data-lane=\"axis\" x=\"48\" y=\"{y}\">{tick}</text></g>")?;
        }
        Ok(())
    }

    /// What is disturbed or down. Both directions of a cut are one band.
    fn bands(&self) -> Vec<Band> {
        let mut bands: BTreeMap<(u64, u64, &str, usize, usize), Vec<String>> = BTreeMap::new();
        for one in &self.timeline.disturbances {
            let (class, a, b, what) = match one.what {
                Disturbed::Cut(from, to) => ("cut", from, to, format!("n{from} → n{to}")),
                Disturbed::Held(from, to) => ("held", from, to, format!("n{from} – n{to}")),
                Disturbed::Frozen(node) => ("frozen", node, node, format!("n{node}")),
            };
            bands.entry((one.from_ms, one.to_ms, class, a.min(b), a.max(b))).or_default().push(what);
        }
        for node in 0..self.timeline.nodes {
            for down in self.timeline.downtimes(node) {
                bands.entry((down.from_ms, down.to_ms, "down", node, node)).or_default().push(format!("n{node}"));
            }
        }
        bands.retain(|(from_ms, to_ms, ..), _| self.window.touches(*from_ms, *to_ms));
        let band = |((from_ms, to_ms, class, a, b), what): ((u64, u64, _, _, _), Vec<String>)| {
            let label = match what.as_slice() {
                [one] => format!("{class} {one}"),
                _ => format!("{class} n{a} – n{b}"),
            };
            let (left, right) = if a == b { (column(a) - 14, column(a) + 14) } else { (column(a), column(b)) };
            Band { class, left, right, from_ms, to_ms, label }
        };
        bands.into_iter().map(band).collect()
    }

    fn band(&self, band: &Band, out: &mut impl Write) -> io::Result<()> {
        let Band { class, left, right, from_ms, to_ms, label } = band;
        let (y, width, label) = (self.clamped(*from_ms), right - left, Escaped(label));
        let height = Px(self.clamped(*to_ms).0 - y.0);
        write!(out, "<g class=\"band {class}\"><title>{label}: {from_ms} to {to_ms} ms</title>")?;
        writeln!(out, "<rect x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/></g>")
    }

    fn band_label(&self, band: &Band, out: &mut impl Write) -> io::Result<()> {
        let Band { class, left, right, from_ms, label, .. } = band;
        let (x, y, label) = (left.midpoint(*right), self.clamped(*from_ms), Escaped(label));
        let lane = format!("data-lane=\"band{x}\"");
        writeln!(out, "<text class=\"lab pin band {class}\" {lane} x=\"{x}\" y=\"{y}\" dy=\"12\">{label}</text>")
    }

    fn lives(&self, out: &mut impl Write) -> io::Result<()> {
        let lives = self.timeline.lives.iter();
        for life in lives.filter(|life| self.window.touches(life.from_ms, life.to_ms)) {
            let (x, from, to) = (column(life.node), self.clamped(life.from_ms), self.clamped(life.to_ms));
            writeln!(out, "<line class=\"life\" x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\"/>")?;
        }
        Ok(())
    }

    /// Faults and stages. Those of one millisecond are one line.
    fn marks(&self, out: &mut impl Write) -> io::Result<()> {
        let mut moments: BTreeMap<u64, Vec<(Sort, &str)>> = BTreeMap::new();
        for mark in self.timeline.marks.iter().filter(|mark| self.window.touches(mark.at_ms, mark.at_ms)) {
            moments.entry(mark.at_ms).or_default().push((mark.sort, &mark.text));
        }
        let (right, x) = (self.width() - MARKS_PX, self.width() - MARKS_PX + 6);
        for (at_ms, marks) in moments {
            let class = if marks.iter().any(|(sort, _)| *sort == Sort::Fault) { "fault" } else { "stage" };
            let text = marks.iter().map(|(_, text)| *text).collect::<Vec<_>>().join(", ");
            let (y, label) = (self.y(at_ms), clip(&text, 52));
            write!(out, "<g class=\"mark {class}\"><title>{at_ms} ms: {}</title>", Escaped(&text))?;
            write!(out, "<line x1=\"54\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>")?;
            writeln!(out, "<text x=\"{x}\" y=\"{y}\">{at_ms} {}</text></g>", Escaped(&label))?;
        }
        Ok(())
    }

    fn message(&self, message: &Message, out: &mut impl Write) -> io::Result<()> {
        let Message { from, to, sent_ms, .. } = message;
        let topic = match message.topic {
            Topic::Presence => "presence",
            Topic::Change => "change",
            Topic::Answer => "answer",
            Topic::Question => "question",
            Topic::Audit => "audit",
            Topic::Background | Topic::Unknown => "quiet",
        };
        let (x1, target) = (column(*from), column(*to));
        // The way from here to there, a part of it for those that do not arrive.
        let (part, took_ms, fate, how) = match message.fate {
            Fate::Arrived(at_ms) => (1.0, (at_ms - sent_ms) as f64, "", format!("{at_ms}")),
            Fate::Lost => (0.55, LOST_MS, " lost", "lost".to_owned()),
            Fate::UnderWay => (0.55, LOST_MS, " waits", "under way at the end".to_owned()),
        };
        let x2 = x1 as f64 + (target as f64 - x1 as f64) * part;
        let (y1, y2) = (self.y(*sent_ms), self.y_of(*sent_ms as f64 + took_ms));
        let background = if message.is_background() { " background" } else { "" };
        let carrier = if message.carrier == Carrier::Datagram { " datagram" } else { "" };
        let text = Escaped(&message.text);
        write!(out, "<g class=\"message {topic}{fate}{background}{carrier}\">")?;
        write!(out, "<title>n{from} {sent_ms} → n{to} {how}: {text}</title>")?;
        write!(out, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2:.0}\" y2=\"{y2}\"/>")?;
        let (side, x) = if target >= x1 { ("right", x1 + 8) } else { ("left", x1 - 8) };
        let label = clip(&message.text, LABEL_CHARS_MAX);
        let label = Escaped(&label);
        // An answer leaves where its question arrived, so its label goes below.
        let dy = if message.topic == Topic::Answer { 11 } else { -2 };
        writeln!(
            out,
            "<text class=\"lab {side}\" data-lane=\"{side}{from}\" x=\"{x}\" y=\"{y1}\" dy=\"{dy}\">{label}</text></g>"
        )
    }

    fn requests(&self, out: &mut impl Write) -> io::Result<()> {
        // When each lane beside each node is free again.
        let mut lanes: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for request in &self.timeline.requests {
            let to_ms = request.answer.as_ref().map_or(self.timeline.end_ms, |answer| answer.at_ms);
            if !self.window.touches(request.from_ms, to_ms) {
                continue;
            }
            let lanes = lanes.entry(request.node).or_default();
            let free = lanes.iter().position(|free_ms| *free_ms < request.from_ms);
            let lane = free.unwrap_or_else(|| {
                lanes.push(0);
                lanes.len() - 1
            });
            lanes[lane] = to_ms;
            self.request(request, to_ms, lane as u64, out)?;
        }
        Ok(())
    }

    fn request(&self, request: &Request, to_ms: u64, lane: u64, out: &mut impl Write) -> io::Result<()> {
        let Request { node, client, what, from_ms, answer } = request;
        let (outcome, sign, told) = match answer {
            None => ("nothing", "…", "no answer yet"),
            Some(answer) => match answer.outcome {
                Outcome::Done => ("done", "", answer.text.as_str()),
                Outcome::Refused => ("refused", " ∅", answer.text.as_str()),
                Outcome::Unsure => ("unsure", " ?", answer.text.as_str()),
                Outcome::Lost => ("nothing", " †", answer.text.as_str()),
            },
        };
        let x = column(*node) - 10 - LANE_PX * lane.min(8);
        let shown_ms = (*from_ms).max(self.window.from_ms);
        let height = Px((to_ms.min(self.window.to_ms) - shown_ms) as f64 * self.px_per_ms);
        let (y, label) = (self.y(shown_ms), clip(&format!("{client} {what}{sign}"), LABEL_CHARS_MAX));
        let (label, what, told) = (Escaped(&label), Escaped(what), Escaped(told));
        write!(out, "<g class=\"request {outcome}\">")?;
        write!(out, "<title>{client} on n{node}, {from_ms} to {to_ms} ms: {what}\n{told}</title>")?;
        write!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"5\" height=\"{height}\"/>")?;
        // The ones with another outcome than usual are seen even where it is crowded.
        let (pin, x) = (if outcome == "done" { "" } else { " pin" }, x - 4);
        writeln!(
            out,
            "<text class=\"lab left{pin}\" data-lane=\"left{node}\" x=\"{x}\" y=\"{y}\" dy=\"6\">{label}</text></g>"
        )
    }

    /// The notes of one node in one millisecond are one dot.
    fn notes(&self, out: &mut impl Write) -> io::Result<()> {
        let mut dots: BTreeMap<_, Vec<(Level, &str)>> = BTreeMap::new();
        for note in self.timeline.notes.iter().filter(|note| self.window.touches(note.at_ms, note.at_ms)) {
            dots.entry((note.at_ms, note.node)).or_default().push((note.level, &note.text));
        }
        for ((at_ms, node), notes) in dots {
            // A level is smaller the more important it is.
            let Some((level, text)) = notes.iter().min_by_key(|(level, _)| *level) else { continue };
            let level = level.as_str().to_lowercase();
            let all: Vec<_> = notes.iter().map(|(level, text)| format!("\n{level} {text}")).collect();
            let (all, label) = (all.concat(), clip(text, LABEL_CHARS_MAX + 10));
            let (x, y) = (node.map_or(60, column), self.y(at_ms));
            let lane = node.map_or_else(|| "none".to_owned(), |node| format!("right{node}"));
            write!(out, "<g class=\"note {level}\"><title>{at_ms} ms{}</title>", Escaped(&all))?;
            write!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>")?;
            let (pin, x) = (if level == "debug" { "" } else { " pin" }, x + 8);
            writeln!(
                out,
                "<text class=\"lab right{pin}\" data-lane=\"{lane}\" x=\"{x}\" y=\"{y}\" dy=\"4\">{}</text></g>",
                Escaped(&label)
            )?;
        }
        Ok(())
    }

    fn violation(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(violation) = &self.timeline.violation else { return Ok(()) };
        if !self.window.touches(violation.at_ms, violation.at_ms) {
            return Ok(());
        }
        let (y, right) = (self.y(violation.at_ms), self.width());
        let (promise, detail) = (Escaped(violation.promise), Escaped(&violation.detail));
        write!(out, "<g class=\"violation\"><title>{} ms: {promise}\n{detail}</title>", violation.at_ms)?;
        write!(out, "<line x1=\"0\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>")?;
        let at_ms = violation.at_ms;
        writeln!(out, "<text x=\"60\" y=\"{y}\" dy=\"18\">{at_ms} ms, broken: {promise}</text></g>")
    }

    fn width(&self) -> u64 {
        column(self.timeline.nodes.max(1) - 1) + MARKS_AFTER_PX + MARKS_PX
    }

    fn y(&self, at_ms: u64) -> Px {
        self.y_of(at_ms as f64)
    }

    fn y_of(&self, at_ms: f64) -> Px {
        Px((at_ms - self.window.from_ms as f64) * self.px_per_ms)
    }

    fn clamped(&self, at_ms: u64) -> Px {
        self.y(at_ms.clamp(self.window.from_ms, self.window.to_ms))
    }
}

/// Where the line of a node is.
fn column(node: usize) -> u64 {
    FIRST_PX + BETWEEN_PX * node as u64
}

/// A stretch of time in which a node or a link does not work.
struct Band {
    class: &'static str,
    left: u64,
    right: u64,
    from_ms: u64,
    to_ms: u64,
    label: String,
}

/// A length or place in pixels, as exact as it can be seen.
#[derive(Clone, Copy)]
struct Px(f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}
