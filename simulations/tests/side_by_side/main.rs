//! What happens to connections in the simulated world happens to them in the real one, at about the same time.
//!
//! The real one has two processes in network namespaces, made here: needs root and iproute2, and is skipped without.

mod real;
mod role;
mod simulated;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use real::Real;
use role::{Order, PORT};
use simulated::Simulated;

/// The processes of the real world have started by then, and nothing has been asked of them.
const STARTED_MS: u128 = 1_000;
/// By how much the times of the two worlds may differ: systems add some of their own to each pause, and machines are busy.
const TOLERANCE_MS: u128 = 400;

/// Who of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Dialler = 0,
    Listener = 1,
}

/// What is done to the world.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Tell(End, Order),
    /// The process dies.
    Kill(End),
    /// The machine dies.
    PowerOff(End),
    /// It is there again, without its process.
    PowerOn(End),
    /// Nothing passes between the two.
    Cut,
    /// Everything does again.
    Heal,
}

/// What an end was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at_ms: u128,
    pub(crate) end: End,
    pub(crate) what: String,
}

/// Where two machines are on one network.
pub(crate) trait World {
    fn address(&self, end: End) -> IpAddr;
    fn act(&mut self, act: Act);
    fn wait_until(&mut self, at: Duration);
    fn seen(self: Box<Self>) -> Vec<Seen>;
}

use End::{Dialler, Listener};

/// Times are milliseconds since the processes have started.
type Script = Vec<(u128, Act)>;

fn play(mut world: Box<dyn World>, script: &dyn Fn(IpAddr) -> Script, until_ms: u128) -> Vec<Seen> {
    let at = |ms: u128| Duration::from_millis(u64::try_from(STARTED_MS + ms).expect("a few seconds"));
    for (ms, act) in script(world.address(Listener)) {
        world.wait_until(at(ms));
        world.act(act);
    }
    world.wait_until(at(until_ms));
    let mut seen = world.seen();
    seen.iter_mut().for_each(|seen| seen.at_ms = seen.at_ms.saturating_sub(STARTED_MS));
    // What both ends are told in the same moment has no order.
    seen.sort_by_key(|seen| (seen.end, seen.at_ms));
    seen
}

/// Plays the script in both worlds. What waited for a link may arrive earlier in the real one: who has to look for the other machine
/// anew (ARP) sends what waited when it has found it, and not only when its pause is over.
fn compare(what: &str, until_ms: u128, script: impl Fn(IpAddr) -> Script) {
    let real = match Real::new() {
        Ok(real) => real,
        Err(why) => return eprintln!("SKIPPED: this machine can have no network namespaces: {why}"),
    };
    let is_back = |(_, act): &&(u128, Act)| matches!(act, Act::Heal | Act::PowerOn(_));
    let back_ms = script(real.address(Listener)).iter().find(is_back).map_or(until_ms, |(ms, _)| *ms);
    let simulated = play(Box::new(Simulated::new()), &script, until_ms);
    let real = play(Box::new(real), &script, until_ms);
    let mut table = format!("{what}\n  simulated                      real\n");
    for at in 0..simulated.len().max(real.len()) {
        let text = |seen: Option<&Seen>| {
            seen.map(|Seen { at_ms, end, what }| format!("{at_ms:>5} {end:?} {what}")).unwrap_or_default()
        };
        writeln!(table, "  {:<30} {}", text(simulated.get(at)), text(real.get(at))).expect("a text");
    }
    println!("{table}");
    let whats = |seen: &[Seen]| seen.iter().map(|seen| (seen.end, seen.what.clone())).collect::<Vec<_>>();
    assert_eq!(whats(&simulated), whats(&real), "{table}");
    for (simulated, real) in simulated.iter().zip(&real) {
        let earliest = simulated.at_ms.saturating_sub(TOLERANCE_MS).min(back_ms);
        assert!((earliest..=simulated.at_ms + TOLERANCE_MS).contains(&real.at_ms), "{table}");
    }
}

/// A connection, opened at 0.
fn connected(to: IpAddr) -> Script {
    vec![
        (0, Act::Tell(Listener, Order::Listen)),
        (100, Act::Tell(Dialler, Order::Dial((to, PORT).into()))),
        (200, Act::Tell(Dialler, Order::Read)),
    ]
}

fn write(end: End, text: &str) -> Act {
    Act::Tell(end, Order::Write(text.to_owned()))
}

/// Not a test of its own: the real world runs it in processes of their own.
#[test]
fn an_end() {
    if !real::was_end() {
        println!("run by the other tests of this file");
    }
}

#[test]
fn who_dials_is_refused_where_nobody_listens_and_hears_nothing_over_a_cut() {
    compare("dialling", 2_600, |to| {
        let dial = || Act::Tell(Dialler, Order::Dial((to, PORT).into()));
        vec![(0, dial()), (100, Act::Tell(Listener, Order::Listen)), (500, Act::Cut), (600, dial()), (1_000, Act::Heal)]
    });
}

#[test]
fn the_death_of_a_process_is_told_at_once_as_an_end_or_a_reset() {
    compare("a process dies that had read all", 800, |to| {
        let mut script = connected(to);
        script.extend([(300, Act::Kill(Listener)), (600, write(Dialler, "x"))]);
        script
    });
    compare("a process dies that had not", 800, |to| {
        let mut script = connected(to);
        script.extend([(300, write(Dialler, "x")), (400, Act::Kill(Listener))]);
        script
    });
}

#[test]
fn what_is_written_into_a_cut_arrives_some_time_after_it_with_the_end_of_who_has_died_since() {
    compare("written into a cut", 2_500, |to| {
        let mut script = connected(to);
        script.push((250, Act::Tell(Listener, Order::Read)));
        script.extend([(400, Act::Cut), (500, write(Dialler, "a")), (900, write(Dialler, "b")), (1_300, Act::Heal)]);
        script
    });
    compare("written into a cut by a process that dies", 2_500, |to| {
        let mut script = connected(to);
        script.push((250, Act::Tell(Listener, Order::Read)));
        script.extend([(400, Act::Cut), (500, write(Dialler, "a")), (600, Act::Kill(Dialler)), (1_300, Act::Heal)]);
        script
    });
}

#[test]
fn a_machine_that_dies_says_nothing_until_it_is_back_and_is_written_to() {
    compare("a machine dies", 3_500, |to| {
        let mut script = connected(to);
        script.extend([(300, Act::PowerOff(Listener)), (800, write(Dialler, "x")), (1_200, Act::PowerOn(Listener))]);
        script
    });
}
