//! What a node answered, for people.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::say;
use crate::terminal::{BAD, BOLD, FAINT, GOOD, ODD};

pub(super) fn status(health: &Value, stats: &Value) {
    let style = match (health["ready"] == true, health["findings"].as_array().is_some_and(Vec::is_empty)) {
        (true, true) => GOOD,
        (true, false) => ODD,
        (false, _) => BAD,
    };
    let (bold, faint) = (BOLD, FAINT);
    let (node, cluster, state) = (text(&health["node"]), text(&health["cluster"]), text(&health["state"]));
    say(&format!("{bold}{node}{bold:#} of cluster {cluster}: {style}{state}{style:#}"));
    for finding in list(&health["findings"]) {
        let mark = if finding["hinders"] == true { BAD } else { ODD };
        say(&format!("  {mark}{}{mark:#}: {}", text(&finding["name"]), text(&finding["text"])));
    }
    let sessions = &stats["sessions"];
    row(
        "sessions",
        &format!(
            "{} as primary, {} as replica; {} ended; {}",
            count(&sessions["primary"]),
            count(&sessions["replica"]),
            count(&sessions["ended"]),
            bytes(&stats["bytes"]),
        ),
    );
    let commits = stats["commits"].as_object().into_iter().flat_map(|by_ack| by_ack.values());
    let (mut all, mut timed_out, mut refused) = (0, 0, 0);
    for by_result in commits {
        let of = |result: &str| by_result[result].as_u64().unwrap_or_default();
        all += of("acknowledged") + of("timed_out") + of("too_few_copies");
        timed_out += of("timed_out");
        refused += of("refused");
    }
    row(
        "commits",
        &format!("{}; {} not acknowledged in time, {} refused", grouped(all), grouped(timed_out), grouped(refused)),
    );
    let reads = &stats["reads"];
    row(
        "reads",
        &format!(
            "{} from its own memory, {} by asking; {} could not be told",
            count(&reads["local"]),
            count(&reads["remote"]),
            count(&reads["cannot_tell"])
        ),
    );
    row(
        "waiting",
        &format!(
            "{} sessions to be sent, {} commits",
            count(&stats["waiting"]["sessions"]),
            count(&stats["waiting"]["commits"])
        ),
    );
    say(&format!("{faint}counts since the node started{faint:#}"));
}

fn row(name: &str, text: &str) {
    let faint = FAINT;
    say(&format!("  {faint}{name:<9}{faint:#} {text}"));
}

pub(super) fn members(answer: &Value) {
    let faint = FAINT;
    let widest = list(&answer["members"]).map(|member| text(&member["name"]).len()).max().unwrap_or_default().max(4);
    let head = format!("{:<widest$}  {:<8} {:<8} {:<22}", "name", "state", "zone", "address");
    say(&format!("{faint}{head} {:>9} {:>9} {:>7}  link{faint:#}", "primary", "replica", "slots"));
    for member in list(&answer["members"]) {
        let state = state(member);
        let style = match state {
            "ready" => GOOD,
            SUSPECT => BAD,
            _ => ODD,
        };
        say(&format!(
            "{:<widest$}  {style}{state:<8}{style:#} {:<8} {:<22} {:>9} {:>9} {:>7}  {}",
            text(&member["name"]),
            text(&member["zone"]),
            text(&member["addr"]),
            own(member, "primary"),
            own(member, "replica"),
            count(&member["primary_of_slots"]),
            link(&member["link"]),
        ));
    }
}

/// The state of a member that nobody hears.
pub(super) const SUSPECT: &str = "suspect";

/// The state that a member tells of itself, or [`SUSPECT`].
pub(super) fn state(member: &Value) -> &str {
    if member["suspected"] == true { SUSPECT } else { text(&member["state"]) }
}

/// What a member says of itself, if it answers.
pub(super) fn own(member: &Value, name: &str) -> String {
    match member["figures"][name].as_u64() {
        Some(number) => grouped(number),
        None => "?".to_owned(),
    }
}

pub(super) fn link(link: &Value) -> String {
    if link.is_null() {
        return "(this node)".to_owned();
    }
    let waiting = match link["waiting_sessions"].as_u64() {
        Some(0) | None => String::new(),
        Some(waiting) => format!(", {} wait for {}", grouped(waiting), age(&link["oldest_ms"])),
    };
    format!("{}{waiting}", if link["up"] == true { "up" } else { "down" })
}

pub(super) fn session(answer: &Value) {
    let (bold, faint) = (BOLD, FAINT);
    let (verdict, style) =
        if answer["copies_equal"] == true { ("all copies are equal", GOOD) } else { ("the copies differ", ODD) };
    let owners: Vec<_> = list(&answer["owners"]).map(text).collect();
    say(&format!(
        "{bold}session {}{bold:#} in slot {}, of {}: {style}{verdict}{style:#}",
        text(&answer["session"]),
        answer["slot"],
        owners.join(", ")
    ));
    for copy in list(&answer["copies"]) {
        let role = match (copy["primary"] == true, copy["owner"] == true) {
            (true, _) => "primary",
            (false, true) => "backup",
            (false, false) => "",
        };
        let content = &copy["content"];
        let content = match content.is_null() {
            true => String::new(),
            false => format!(
                "{}, {}, idle for {} of {}, revision {}",
                several(&content["attributes"], "attribute"),
                bytes(&content["bytes"]),
                age(&content["idle_ms"]),
                age(&content["max_inactive_ms"]),
                text(&content["revision"]),
            ),
        };
        let digest = copy["digest"].as_str().unwrap_or("-");
        say(&format!(
            "  {:<12} {role:<8} {:<9} {faint}{digest:<16}{faint:#} {content}",
            text(&copy["node"]),
            text(&copy["state"])
        ));
    }
    if let Some(values) = answer["values"].as_object() {
        for (key, value) in values {
            say(&format!("  {key} = {value}"));
        }
    }
}

pub(super) fn user(answer: &Value) {
    let sessions = list(&answer["sessions"]).count();
    say(&format!("{} has {}", text(&answer["user"]), several(&sessions.into(), "session")));
    for session in list(&answer["sessions"]) {
        say(&format!(
            "  {}  idle for {} of {}",
            text(&session["session"]),
            age(&session["idle_ms"]),
            age(&session["max_inactive_ms"])
        ));
    }
}

/// A line: when, what, and in words.
pub(super) fn event(event: &Value) {
    let (bold, faint) = (BOLD, FAINT);
    let at = UNIX_EPOCH + Duration::from_millis(event["at_ms"].as_u64().unwrap_or_default());
    let at = humantime::format_rfc3339_millis(at);
    say(&format!("{faint}{at}{faint:#} {bold}{:<20}{bold:#} {}", text(&event["name"]), text(&event["text"])));
}

pub(super) fn ended(answer: &Value) {
    let unconfirmed =
        answer["confirmed"] == false || answer["unconfirmed"].as_u64().is_some_and(|unconfirmed| unconfirmed > 0);
    let ended = several(&answer["ended"].as_u64().unwrap_or(1).into(), "session");
    let more = if unconfirmed { "; not every node has acknowledged it yet, and it goes on replicating" } else { "" };
    say(&format!("ended {ended}{more}"));
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> String {
    grouped(value.as_u64().unwrap_or_default())
}

/// So many of them: `1 session`, `2 sessions`.
fn several(number: &Value, what: &str) -> String {
    let plural = if number.as_u64() == Some(1) { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// With a comma at each thousand.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn bytes(value: &Value) -> String {
    let bytes = value.as_u64().unwrap_or_default();
    match bytes {
        0..10_240 => format!("{} B", grouped(bytes)),
        10_240..10_485_760 => format!("{} KiB", grouped(bytes >> 10)),
        _ => format!("{} MiB", grouped(bytes >> 20)),
    }
}

fn age(ms: &Value) -> String {
    let age = Duration::from_millis(ms.as_u64().unwrap_or_default());
    let shown = if age < Duration::from_secs(1) { age } else { Duration::from_secs(age.as_secs()) };
    humantime::format_duration(shown).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1_000, 20_480, 52_428_800].map(|size| bytes(&json!(size))), ["1,000 B", "20 KiB", "50 MiB"]);
        assert_eq!([5, 90_500].map(|ms| age(&json!(ms))), ["5ms", "1m 30s"]);
    }

    #[test]
    fn a_link_says_what_waits() {
        assert_eq!(link(&Value::Null), "(this node)");
        assert_eq!(link(&json!({ "up": true, "waiting_sessions": 0, "oldest_ms": 0 })), "up");
        assert_eq!(
            link(&json!({ "up": false, "waiting_sessions": 1200, "oldest_ms": 3000 })),
            "down, 1,200 wait for 3s"
        );
    }
}
