//! A recording tells what happened, and the run does not notice it.

use sessionmesh_simulations::oracle::Violation;
use sessionmesh_simulations::record::timeline::{Carrier, Disturbed, Message, Outcome, Timeline, Topic, Window};
use sessionmesh_simulations::record::{Recorder, diagram, text};
use sessionmesh_simulations::run::{Extras, Report, play, play_with};
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};

/// Records into `recorder`.
fn recording(recorder: &Recorder) -> Extras {
    Extras { recorder: recorder.clone(), ..Extras::default() }
}

/// Without a secret: what is sealed cannot be told.
fn told(kind: Kind, seed: u64) -> Scenario {
    Scenario { secret: false, certificates: false, ..Scenario::aimed(seed, kind, Mode::PrimaryBackup(1)) }
}

fn recorded(kind: Kind, seed: u64) -> (Report, Timeline) {
    let recorder = Recorder::on();
    let report = play_with(&told(kind, seed), &recording(&recorder));
    (report, recorder.timeline())
}

fn text_of(timeline: &Timeline, background: bool) -> String {
    let mut text = Vec::new();
    let options = text::Options { background, ..text::Options::default() };
    text::write(timeline, options, &mut text).expect("memory takes all");
    String::from_utf8(text).expect("it is text")
}

fn diagram_of(timeline: &Timeline, options: &diagram::Options) -> String {
    let mut page = Vec::new();
    diagram::write(timeline, options, &mut page).expect("memory takes all");
    String::from_utf8(page).expect("it is text")
}

#[test]
fn a_recorded_run_is_the_same_run() {
    for (kind, _) in Kind::ALL {
        let plain = play(&told(kind, 5));
        let (report, timeline) = recorded(kind, 5);
        assert_eq!(report.trace, plain.trace, "{kind:?}");
        assert_eq!(report.violation, plain.violation);
        assert!(!timeline.messages.is_empty() && !timeline.notes.is_empty() && !timeline.requests.is_empty());
    }
}

#[test]
fn nothing_arrives_before_it_is_sent() {
    for kind in [Kind::Crash, Kind::Hold, Kind::Partition] {
        let (_, timeline) = recorded(kind, 3);
        let mut arrived = 0;
        for message in timeline.messages.iter().filter(|message| message.carrier == Carrier::Link) {
            assert!(message.from != message.to && message.from.max(message.to) < timeline.nodes, "{message:?}");
            assert_ne!(message.topic, Topic::Unknown, "{message:?}");
            let Some(arrived_ms) = message.arrived_ms() else { continue };
            assert!(arrived_ms >= message.sent_ms && arrived_ms <= timeline.end_ms, "{message:?}");
            arrived += 1;
        }
        assert!(arrived > 100, "{kind:?}: {arrived}");
    }
}

#[test]
fn what_is_sent_into_a_cut_is_lost() {
    let (_, timeline) = recorded(Kind::Partition, 5);
    let cut = timeline.disturbances.first().expect("the network falls apart");
    let sent = timeline.messages.iter().filter(|one| one.sent_ms > cut.from_ms && one.sent_ms < cut.to_ms);
    let into_it = |one: &&Message| cut.what == Disturbed::Cut(one.from, one.to);
    let sent: Vec<_> = sent.filter(into_it).collect();
    assert!(!sent.is_empty() && sent.iter().all(|one| one.arrived_ms().is_none()));
}

#[test]
fn the_text_tells_of_crashes_batches_and_answers() {
    let (_, timeline) = recorded(Kind::Crash, 3);
    assert!(timeline.requests.iter().any(|one| one.answer.as_ref().is_some_and(|it| it.outcome == Outcome::Done)));
    let text = text_of(&timeline, false);
    for expected in
        ["===", "crash n", "batch 1: ", "answers batch 1: kept", " asks ", " told ", "is down", "starts", "info"]
    {
        assert!(text.contains(expected), "{expected}");
    }
    // What nodes log may speak of them.
    let is_logged = |line: &&str| {
        ["debug", "info", "warn", "error"].iter().any(|level| line.split_whitespace().any(|word| word == *level))
    };
    let background =
        text.lines().filter(|line| !is_logged(line)).find(|line| line.contains("ping") || line.contains("gossip"));
    assert_eq!(background, None);
    assert!(text_of(&timeline, true).contains("ping"));
    let times: Vec<u64> = text
        .lines()
        .map(|line| line[3..].split_whitespace().next().expect("a time").parse().expect("a time"))
        .collect();
    assert!(times.is_sorted());
}

#[test]
fn the_diagram_has_an_arrow_for_each_message_and_closes_what_it_opens() {
    let (_, timeline) = recorded(Kind::Crash, 3);
    let window = Window { from_ms: 1_000, to_ms: 3_000 };
    for background in [false, true] {
        let options = diagram::Options { title: "seed 3".to_owned(), window: Some(window), background };
        let page = diagram_of(&timeline, &options);
        let within = |one: &&Message| window.touches(one.sent_ms, one.arrived_ms().unwrap_or(one.sent_ms));
        let shown = timeline.messages.iter().filter(|one| background || !one.is_background()).filter(within).count();
        assert!(shown > 20);
        assert_eq!(page.matches("<g class=\"message ").count(), shown);
        for element in ["g", "svg", "text", "title", "section", "header", "marker", "label", "span", "a", "details"] {
            let opened = page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        assert!(page.contains("down n") && !page.contains("http"), "it needs nothing else");
    }
}

#[test]
fn no_text_becomes_markup() {
    let (_, mut timeline) = recorded(Kind::Crash, 3);
    let evil = "<script>\"&'</script>";
    timeline.messages[0].text = evil.to_owned();
    timeline.notes[0].text = evil.to_owned();
    timeline.requests[0].what = evil.to_owned();
    timeline.marks[0].text = evil.to_owned();
    timeline.violation =
        Some(Violation { promise: "a < b", detail: format!("{evil}\n{evil}"), at_ms: timeline.end_ms });
    let options = diagram::Options { title: evil.to_owned(), window: Some(Window::ALL), background: true };
    let page = diagram_of(&timeline, &options);
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(page.matches("&lt;script&gt;&quot;&amp;&#39;").count() > 5);
    assert!(page.contains("class=\"violation\""));
}

#[test]
fn a_recorder_that_is_off_holds_nothing() {
    let recorder = Recorder::off();
    let _ = play_with(&Scenario::aimed(3, Kind::Calm, Mode::AllToAll), &recording(&recorder));
    assert_eq!(recorder.timeline(), Timeline::default());
}
