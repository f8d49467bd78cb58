//! What `top` shows, from what the node has told.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, List, Paragraph, Row, Sparkline, Table};
use serde_json::Value;

use crate::operator::show::{SUSPECT, bytes, grouped, link, list, own, state, text};

/// Seconds of which rates are kept: as many as a wide terminal has columns.
const SECONDS_MAX: usize = 240;
/// Events that are kept.
const EVENTS_MAX: usize = 100;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The latest statistics.
    stats: Value,
    members: Value,
    commits: Rate,
    reads: Rate,
    remote: Rate,
    events: VecDeque<String>,
}

/// What happened in each of the last seconds, the latest first.
#[derive(Debug, Default)]
struct Rate {
    before: Option<u64>,
    each: VecDeque<u64>,
}

impl Rate {
    fn told(&mut self, count: u64) {
        if let Some(before) = self.before.replace(count) {
            self.each.push_front(count.saturating_sub(before));
            self.each.truncate(SECONDS_MAX);
        }
    }

    fn now(&self) -> u64 {
        self.each.front().copied().unwrap_or_default()
    }
}

impl View {
    /// Takes what the node told.
    pub(super) fn told(&mut self, value: &Value) {
        if let Some(name) = value["name"].as_str() {
            self.events.push_front(format!("{name:<18} {}", text(&value["text"])));
            self.events.truncate(EVENTS_MAX);
            return;
        }
        self.stats = value["stats"].clone();
        self.members = value["members"].clone();
        let made = |by_result: &Value| -> u64 {
            ["acknowledged", "timed_out", "too_few_copies"].iter().filter_map(|result| by_result[result].as_u64()).sum()
        };
        let commits = self.stats["commits"].as_object().into_iter().flat_map(|by_ack| by_ack.values());
        self.commits.told(commits.map(made).sum());
        self.reads.told(self.stats["reads"]["local"].as_u64().unwrap_or_default());
        self.remote.told(self.stats["reads"]["remote"].as_u64().unwrap_or_default());
    }

    /// Draws all of it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let members = u16::try_from(list(&self.members).count()).unwrap_or(u16::MAX).saturating_add(3);
        let [head, rates, table, events] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(6),
            Constraint::Length(members.min(frame.area().height / 2)),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        self.draw_rates(frame, rates);
        self.draw_members(frame, table);
        let lines: Vec<&str> = self.events.iter().map(String::as_str).collect();
        frame.render_widget(List::new(lines).block(titled("events, the latest first")), events);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let sessions = &self.stats["sessions"];
        let count = |value: &Value| grouped(value.as_u64().unwrap_or_default());
        let mut spans = vec![
            Span::styled(text(&self.stats["node"]).to_owned(), Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!(
                "  {} as primary, {} as replica, {} ended, {}",
                count(&sessions["primary"]),
                count(&sessions["replica"]),
                count(&sessions["ended"]),
                bytes(&self.stats["bytes"]),
            )),
        ];
        if self.stats["busy"] == true {
            let late = format!("  this host is too busy ({} ms late)", self.stats["late_ms"]);
            spans.push(Span::styled(late, Style::new().fg(Color::Red)));
        }
        frame.render_widget(Paragraph::new(Line::from(spans)).block(titled("sessions, q ends")), area);
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect) {
        let areas: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).areas(area);
        let all = [("commits/s", &self.commits), ("reads here/s", &self.reads), ("reads by asking/s", &self.remote)];
        for ((name, rate), area) in all.into_iter().zip(areas) {
            let title = format!("{name}: {}", grouped(rate.now()));
            // The latest one on the right.
            let width = usize::from(area.width.saturating_sub(2));
            let shown: Vec<u64> = rate.each.iter().take(width).rev().copied().collect();
            let bars = Sparkline::default().data(shown).style(Style::new().fg(Color::Cyan));
            frame.render_widget(bars.block(titled(&title)), area);
        }
    }

    fn draw_members(&self, frame: &mut Frame<'_>, area: Rect) {
        let row = |member: &Value| {
            let state = state(member);
            let colour = match state {
                "ready" => Color::Green,
                SUSPECT => Color::Red,
                _ => Color::Yellow,
            };
            let slots = grouped(member["primary_of_slots"].as_u64().unwrap_or_default());
            Row::new([
                text(&member["name"]).to_owned(),
                state.to_owned(),
                text(&member["zone"]).to_owned(),
                own(member, "primary"),
                own(member, "replica"),
                slots,
                link(&member["link"]),
            ])
            .style(Style::new().fg(colour))
        };
        let widths = [
            Constraint::Max(16),
            Constraint::Length(8),
            Constraint::Max(8),
            Constraint::Length(7),
            Constraint::Length(7),
            Constraint::Length(6),
            Constraint::Fill(1),
        ];
        let head = Row::new(["name", "state", "zone", "primary", "replica", "slots", "link"])
            .style(Style::new().add_modifier(Modifier::DIM));
        let table = Table::new(list(&self.members).map(row), widths).header(head).block(titled("members"));
        frame.render_widget(table, area);
    }
}

fn titled(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title.to_owned())
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn figures(commits: u64) -> Value {
        json!({
            "stats": {
                "node": "web-1",
                "sessions": { "primary": 1234, "replica": 5, "ended": 0 },
                "bytes": 20480,
                "commits": { "owners": { "acknowledged": commits, "timed_out": 0, "too_few_copies": 0, "refused": 9 } },
                "reads": { "local": commits * 10, "remote": 0 },
                "busy": false,
            },
            "members": [
                { "name": "web-1", "state": "ready", "zone": "a", "primary_of_slots": 2048, "suspected": false, "link": null },
                { "name": "web-2", "state": "joining", "zone": "b", "primary_of_slots": 2048, "suspected": true,
                  "link": { "up": false, "waiting_sessions": 7, "oldest_ms": 2000 } },
            ],
        })
    }

    fn drawn(view: &View, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 24)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn it_shows_rates_members_and_events_at_80_and_160_columns() {
        let mut view = View::default();
        drop(drawn(&view, 80));
        view.told(&figures(100));
        view.told(&figures(1_600));
        view.told(&json!({ "name": "member_down", "text": "member down: web-3" }));
        for width in [80, 160] {
            let drawn = drawn(&view, width);
            for word in [
                "web-1  1,234 as primary, 5 as replica, 0 ended, 20 KiB",
                "commits/s: 1,500",
                "reads here/s: 15,000",
                "down, 7 wait for 2s",
                "suspect",
                "member down: web-3",
            ] {
                assert!(drawn.contains(word), "{word} at {width} columns:\n{drawn}");
            }
        }
    }

    #[test]
    fn a_small_terminal_is_no_fault() {
        let mut view = View::default();
        view.told(&figures(1));
        for (width, height) in [(1, 1), (10, 3), (20, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| view.draw(frame)).unwrap();
        }
    }

    #[test]
    fn a_counter_that_begins_anew_is_no_flood() {
        let mut rate = Rate::default();
        [5, 9, 2, 4].into_iter().for_each(|count| rate.told(count));
        assert_eq!(rate.each, [2, 0, 4]);
    }
}
