//! A recording as a space-time diagram: one HTML file that needs nothing else.
//!
//! Time goes down, each node is a line, and each message an arrow from the moment it was sent to that it was read.
//! The file is complete without its script; with it the reader zooms, and labels that would overlap are hidden.
//!
//! Drawn after L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978.

mod drawing;

use std::fmt;
use std::io::{self, Write};

use self::drawing::Drawing;
use super::timeline::{Sort, Timeline, Window};

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shown above the diagram, such as the scenario. The first line is the page's title.
    pub title: String,
    /// Which part; `None` for the last [`WINDOW_MS`] before the broken promise, or before the end.
    pub window: Option<Window>,
    /// Heartbeats can be shown, too; they are hidden at first.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { title: "A run".to_owned(), window: None, background: true }
    }
}

/// How much is drawn unless the caller names a part, in milliseconds.
pub const WINDOW_MS: u64 = 4_000;
/// With more messages and requests than this the beginning is left out, so that the file stays below about 5 MB.
const DRAWN_MAX: usize = 12_000;

/// Writes `timeline` as a page.
///
/// # Errors
///
/// What `out` says.
pub fn write(timeline: &Timeline, options: &Options, mut out: impl Write) -> io::Result<()> {
    let window = window(timeline, options);
    let drawing = Drawing::new(timeline, window, options.background);
    let heading = options.title.lines().next().unwrap_or_default();
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width\">")?;
    writeln!(out, "<title>{}</title>", Escaped(heading))?;
    writeln!(out, "<style>\n{}</style>\n</head>\n<body>", include_str!("diagram/page.css"))?;
    introduce(timeline, options, window, &mut out)?;
    // What the broken promise is about stands out from the beginning.
    let about = timeline.violation.as_ref().and_then(|violation| session_in(&violation.detail)).unwrap_or_default();
    let controls = CONTROLS.replace("ABOUT", about);
    writeln!(out, "<header>\n{controls}{}</header>", drawing.names())?;
    drawing.write(&mut out)?;
    writeln!(out, "<script>\n{}</script>\n</body>\n</html>", include_str!("diagram/page.js"))?;
    out.flush()
}

/// The first session in `text`, as sessions are printed: a `#` and eight digits.
fn session_in(text: &str) -> Option<&str> {
    let places = text.match_indices('#').filter_map(|(at, _)| text.get(at..at + 9));
    places.into_iter().find(|name| name[1..].bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The part that is drawn.
fn window(timeline: &Timeline, options: &Options) -> Window {
    let mut window = options.window.unwrap_or_else(|| timeline.last(WINDOW_MS));
    window.to_ms = window.to_ms.min(timeline.end_ms.max(1));
    window.from_ms = window.from_ms.min(window.to_ms - 1);
    let messages = timeline.messages.iter().filter(|message| options.background || !message.is_background());
    let requests = timeline.requests.iter().map(|request| request.from_ms);
    let mut drawn: Vec<u64> = messages.map(|message| message.sent_ms).chain(requests).collect();
    drawn.retain(|at_ms| window.touches(*at_ms, *at_ms));
    drawn.sort_unstable();
    if let Some(first_left_out) = drawn.iter().rev().nth(DRAWN_MAX) {
        window.from_ms = (first_left_out + 1).min(window.to_ms - 1);
    }
    window
}

/// What the reader should know before.
fn introduce(timeline: &Timeline, options: &Options, window: Window, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "<section>")?;
    match &timeline.violation {
        Some(violation) => {
            let (promise, at_ms) = (Escaped(violation.promise), violation.at_ms);
            writeln!(out, "<h1 class=\"broken\">Broken promise at {at_ms} ms: {promise}</h1>")?;
            let mut lines = violation.detail.splitn(2, '\n');
            writeln!(out, "<pre>{}</pre>", Escaped(lines.next().unwrap_or_default()))?;
            if let Some(history) = lines.next() {
                let history = Escaped(history);
                writeln!(out, "<details><summary>what clients saw of it</summary><pre>{history}</pre></details>")?;
            }
        }
        None => writeln!(out, "<h1>No promise was broken</h1>")?,
    }
    let title = Escaped(&options.title);
    writeln!(out, "<details><summary>the scenario</summary><pre>{title}</pre></details>")?;
    let (from_ms, to_ms, end_ms) = (window.from_ms, window.to_ms, timeline.end_ms);
    write!(out, "<p>Shown: {from_ms} to {to_ms} ms of {end_ms}. Faults:")?;
    let mut faults = timeline.marks.iter().filter(|mark| mark.sort == Sort::Fault).peekable();
    if faults.peek().is_none() {
        write!(out, " none")?;
    }
    for fault in faults {
        let (at_ms, text) = (fault.at_ms, Escaped(&fault.text));
        match window.touches(at_ms, at_ms) {
            true => write!(out, " <a href=\"#\" data-ms=\"{}\">{at_ms} {text}</a>", at_ms - from_ms)?,
            false => write!(out, " <span class=\"out\">{at_ms} {text}</span>")?,
        }
    }
    if timeline.violation.is_some() {
        write!(out, " <a class=\"broken\" href=\"#\" data-ms=\"{}\">the broken promise</a>", to_ms - from_ms)?;
    }
    writeln!(out, "</p>\n</section>")
}

/// The legend is made of what it explains, and its boxes are switches where something can be hidden.
const CONTROLS: &str = "\
<nav>
<span>time <button id=\"out\" title=\"less space for a millisecond\">−</button>\
<button id=\"in\" title=\"more space for a millisecond\">+</button></span>
<label>highlight <input id=\"find\" type=\"search\" value=\"ABOUT\" placeholder=\"#session, v0.1, batch\"></label>
<label><input type=\"checkbox\" data-show=\"background\">heartbeats</label>
<label><input type=\"checkbox\" data-show=\"labels\" checked>labels</label>
<label><input type=\"checkbox\" data-show=\"notes\" checked><i class=\"dot\"></i>log</label>
<label><input type=\"checkbox\" data-show=\"requests\" checked>requests:</label>
<span><i class=\"done\"></i>done</span><span><i class=\"refused\"></i>none or refused</span>
<span><i class=\"unsure\"></i>unsure</span><span><i class=\"nothing\"></i>no answer</span>
<b>messages:</b>
<span><i class=\"change\"></i>changes</span><span><i class=\"answer\"></i>answers</span>
<span><i class=\"question\"></i>questions</span><span><i class=\"audit\"></i>audit</span>
<span><i class=\"presence\"></i>presence</span><span>×&#x202f;lost</span>
<b>faults:</b>
<span><i class=\"down\"></i>down</span><span><i class=\"cut\"></i>cut</span><span><i class=\"held\"></i>held</span>\
<span><i class=\"frozen\"></i>frozen</span>
</nav>
";

/// Text that means nothing to HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                character => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}
