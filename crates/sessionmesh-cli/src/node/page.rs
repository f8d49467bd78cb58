//! The page for people: HTML for a browser, text for all others.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{Html, IntoResponse, Response};
use sessionmesh::{Mesh, Session};

/// Shows `session`, or that there is none.
pub(crate) fn show(mesh: &Mesh, session: Option<&Session>, headers: &HeaderMap) -> Response {
    let lines = lines(mesh, session);
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") { Html(html(&lines)).into_response() } else { text(&lines).into_response() }
}

/// A point in time as `2026-01-31T12:00:00Z`; an hour beyond the calendar as none.
pub(crate) fn moment(millis: u64) -> Option<String> {
    /// The first millisecond of the year 10000.
    const END: u64 = 253_402_300_800_000;
    let moment = UNIX_EPOCH + Duration::from_millis(millis.min(END));
    (millis < END).then(|| humantime::format_rfc3339_seconds(moment).to_string())
}

type Line = (&'static str, String);

fn lines(mesh: &Mesh, session: Option<&Session>) -> Vec<Line> {
    let served_by = ("served by", mesh.name().to_owned());
    let Some(session) = session else {
        return vec![("session", "none: POST /login {\"user\": \"ada\"}".to_owned()), served_by];
    };
    // A page that shows nothing rather than failing, when somebody stored something else under these names.
    let user = session.get::<String>("user").ok().flatten().unwrap_or_default();
    let idle = Duration::from_secs(session.idle().as_secs());
    vec![
        ("session", session.id().to_string()),
        ("user", user),
        ("visits", session.get::<u64>("visits").ok().flatten().unwrap_or_default().to_string()),
        ("created", session.created_ms().and_then(moment).unwrap_or_default()),
        ("last accessed", format!("{} ago", humantime::format_duration(idle))),
        ("owners", mesh.owners(session.id()).join(", ")),
        served_by,
    ]
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|(name, value)| format!("{name:<15}{value}\n")).collect()
}

fn html(lines: &[Line]) -> String {
    let rows: String =
        lines.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value))).collect();
    include_str!("page.html").replace("{rows}", &rows)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_visitors_typed_cannot_become_markup() {
        let page = html(&[("user", "<script>'\"&".to_owned())]);
        assert!(page.contains("<td>&lt;script&gt;&#39;&quot;&amp;</td>"), "{page}");
    }

    #[test]
    fn text_is_aligned() {
        assert_eq!(text(&[("user", "ada".to_owned())]), "user           ada\n");
    }

    #[test]
    fn moments_are_shown_as_dates_as_far_as_the_calendar_goes() {
        assert_eq!(moment(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(moment(u64::MAX), None);
    }
}
