//! A scenario as text, and what is said of a text that is none.

use sessionmesh_simulations::scenario::product::Product;
use sessionmesh_simulations::scenario::text::ScenarioError;
use sessionmesh_simulations::scenario::{Ack, Event, Fault, Mode, Scenario};

#[test]
fn every_scenario_is_read_back_as_it_was_written() {
    for seed in 0..2_000 {
        let scenario = Scenario::draw(seed);
        let text = scenario.to_string();
        assert_eq!(text.parse(), Ok(scenario), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("fault:")).count(), text.matches("fault:").count());
    }
}

#[test]
fn a_file_may_say_what_it_once_found() {
    let text = format!("// Found that nothing\n// was found.\n\n{}", Scenario::draw(1));
    assert_eq!(text.parse(), Ok(Scenario::draw(1)));
}

#[test]
fn what_does_not_parse_is_shown_by_line_and_column() {
    let text = Scenario::draw(1).to_string().replace("late: ", "later: ");
    let line = text.lines().position(|line| line.contains("later")).expect("it was replaced") + 1;
    match text.parse::<Scenario>() {
        Err(ScenarioError::Syntax { line: found, column: 3.., why }) => {
            assert_eq!(found, line);
            assert!(why.contains("later"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_played_is_refused() {
    let refused = |change: fn(&mut Scenario), why: &str| {
        let mut scenario = Scenario::draw(1);
        change(&mut scenario);
        let said = scenario.validate().expect_err(why);
        assert!(said.contains(why), "{said}");
        assert_eq!(scenario.to_string().parse::<Scenario>(), Err(ScenarioError::Impossible(said)));
    };
    refused(|scenario| scenario.nodes = 0, "nodes is 0");
    refused(|scenario| scenario.nodes = 65, "nodes is 65");
    refused(|scenario| scenario.late = scenario.nodes, "late is");
    refused(|scenario| scenario.skew_ms.push(0), "skew_ms has");
    refused(|scenario| scenario.tick_ms = 0, "tick_ms must not be 0");
    refused(|scenario| scenario.product.share = 101, "product: share counts hundredths");
    refused(|scenario| scenario.product = Product { sessions_per_user: 1, ..Product::default() }, "needs users");
    refused(|scenario| (scenario.mode, scenario.ack) = (Mode::PrimaryBackup(1), Ack::Copies(2)), "has fewer");
    refused(|scenario| scenario.network.latency_ms = (2, 1), "the shortest comes first");
    refused(|scenario| scenario.episodes[0].length_ms = u64::MAX, "the episodes last");
    let events = |times: [u64; 2], fault: Fault| times.map(|at_ms| Event { at_ms, fault: fault.clone() }).to_vec();
    for (times, fault, why) in [
        ([1, 2], Fault::Crash(99), "numbered from 0"),
        ([1, 2], Fault::Cut(1, 1), "two ends"),
        ([2, 1], Fault::Crash(0), "stands after"),
        ([1, 1_999_999], Fault::Crash(0), "it ends at"),
    ] {
        let mut scenario = Scenario::draw(1);
        scenario.episodes[0].events = events(times, fault);
        let said = scenario.validate().expect_err(why);
        assert!(said.starts_with("episode 1: ") && said.contains(why), "{said}");
    }
}
