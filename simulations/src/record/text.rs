//! A recording as lines: what every node did, in the order of time.
//!
//! ```text
//!      812  n0  v1.0 asks     write tab0=12 #ab12cd34
//!      813  n0  -> n1 +3      batch 7: #ab12cd34 since 11.n0 tab0=12
//!      815  n1  -> n0 lost    answers batch 7: kept
//! ===  816  crash n0
//! ```

use std::io::{self, Write};

use super::timeline::{Fate, Message, Sort, Timeline, Window};

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which part.
    pub window: Window,
    /// Heartbeats, too.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: Window::ALL, background: false }
    }
}

/// A message that took longer has a line at its arrival, too.
const LONG_WAY_MS: u64 = 50;

/// What comes first within one millisecond. What happened between records of different sorts is not known that exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Mark,
    Life,
    Asked,
    Arrived,
    Sent,
    Note,
    ReadReply,
    Violation,
}

#[derive(Default)]
struct Lines(Vec<(u64, Rank, String)>);

impl Lines {
    fn node(&mut self, at_ms: u64, rank: Rank, node: Option<usize>, does: &str, text: &str) {
        let node = node.map_or_else(|| "-".to_owned(), |node| format!("n{node}"));
        self.0.push((at_ms, rank, format!("    {at_ms:>8}  {node:<3} {does:<12}  {text}")));
    }

    fn across(&mut self, at_ms: u64, rank: Rank, line: &str, text: &str) {
        self.0.push((at_ms, rank, format!("{line} {at_ms:>8}  {text}")));
    }

    fn message(&mut self, message: &Message) {
        let Message { from, to, sent_ms, text, .. } = message;
        let does = match message.fate {
            Fate::Arrived(at_ms) => format!("-> n{to} +{}", at_ms - sent_ms),
            Fate::UnderWay => format!("-> n{to} ..."),
            Fate::Lost => format!("-x n{to} lost"),
        };
        self.node(*sent_ms, Rank::Sent, Some(*from), &does, text);
        if let Some(arrived_ms) = message.arrived_ms().filter(|arrived_ms| *arrived_ms > sent_ms + LONG_WAY_MS) {
            let does = format!("<- n{from} -{}", arrived_ms - sent_ms);
            self.node(arrived_ms, Rank::Arrived, Some(*to), &does, text);
        }
    }
}

/// Writes `timeline`.
///
/// # Errors
///
/// What `out` says.
pub fn write(timeline: &Timeline, options: Options, mut out: impl Write) -> io::Result<()> {
    let mut lines = Lines::default();
    for message in timeline.messages.iter().filter(|message| options.background || !message.is_background()) {
        lines.message(message);
    }
    for note in &timeline.notes {
        let level = note.level.as_str().to_lowercase();
        lines.node(note.at_ms, Rank::Note, note.node, &level, &note.text);
    }
    for request in &timeline.requests {
        let (node, client) = (Some(request.node), &request.client);
        lines.node(request.from_ms, Rank::Asked, node, &format!("{client} asks"), &request.what);
        let Some(answer) = &request.answer else { continue };
        let text = format!("{} ({}, asked at {})", answer.text, request.what, request.from_ms);
        lines.node(answer.at_ms, Rank::ReadReply, node, &format!("{client} told"), &text);
    }
    for mark in &timeline.marks {
        let line = if mark.sort == Sort::Fault { "===" } else { "---" };
        lines.across(mark.at_ms, Rank::Mark, line, &mark.text);
    }
    for life in &timeline.lives {
        lines.node(life.from_ms, Rank::Life, Some(life.node), "starts", "");
        if life.to_ms < timeline.end_ms {
            lines.node(life.to_ms, Rank::Life, Some(life.node), "is down", "");
        }
    }
    if let Some(violation) = &timeline.violation {
        lines.across(violation.at_ms, Rank::Violation, "!!!", &format!("broken promise: {}", violation.promise));
        for detail in violation.detail.lines() {
            lines.across(violation.at_ms, Rank::Violation, "!!!", detail);
        }
    }
    lines.0.sort_by_key(|(at_ms, rank, _)| (*at_ms, *rank));
    for (_, _, line) in lines.0.iter().filter(|(at_ms, ..)| options.window.touches(*at_ms, *at_ms)) {
        writeln!(out, "{}", line.trim_end())?;
    }
    out.flush()
}
