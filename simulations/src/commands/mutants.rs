//! Mistakes that nobody planted: are they found, by the simulations or by the tests?

use std::process::{Command, Stdio};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use sessionmesh_simulations::mutants::list::{self, Area, Mutant};
use sessionmesh_simulations::mutants::tree::CHOICE;

use super::console::{Progress, say};
use super::{Outcome, real_time};

mod build;
mod tests;
pub(super) mod until_broken;

use build::{Built, ROOT};
use tests::Suite;
use until_broken::{BROKEN, KEPT, SELDOM};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only those of this area
    #[arg(long, value_parser = areas(), value_name = "AREA")]
    area: Option<Area>,
    /// So many of those that must be found, other ones each day
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// For each mutant so many seeds are played, from 0 on, until a promise breaks
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// Only the simulations, no tests
    #[arg(long)]
    without_tests: bool,
    /// So many of a hundred that must be found are found, or it is a failure
    #[arg(long, default_value_t = 100, value_name = "PERCENT")]
    floor: usize,
    /// Print the list, and play nothing
    #[arg(long)]
    list: bool,
}

fn areas() -> impl TypedValueParser<Value = Area> {
    let area = |name: String| Area::ALL.into_iter().find(|(_, known)| *known == name).map(|(area, _)| area);
    PossibleValuesParser::new(Area::ALL.map(|(_, name)| name))
        .map(move |name| area(name).expect("only names of areas are possible"))
}

/// What found a mutant.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A promise that broke, or that was judged too seldom, in `check`.
    ByCheck(String),
    ByTest(String),
    Not,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let all = list::read(&ROOT.join("simulations/mutants"))?;
    let chosen = choose(&all, arguments)?;
    if arguments.list {
        for mutant in chosen {
            say(format_args!("{}: {} ({})", mutant.entry.name, mutant.entry.harm, mutant.entry.file));
        }
        return Ok(Outcome::Fine);
    }
    let is_needed = |suite: &Suite| chosen.iter().any(|mutant| suite.finds(mutant.area).is_some());
    let suites: Vec<Suite> =
        Suite::ALL.into_iter().filter(|suite| !arguments.without_tests && is_needed(suite)).collect();
    let built = {
        let _progress = Progress::new(|| "building".to_owned());
        build::build(&all, arguments.seeds > 0, &suites)?
    };
    let width = chosen.iter().map(|mutant| mutant.entry.name.len()).max().unwrap_or(0);
    let mut results = Vec::new();
    for mutant in chosen {
        let began = real_time::now();
        let found = find(&built, mutant, arguments.seeds)?;
        let what = match &found {
            Found::ByCheck(promise) => format!("check: {promise}"),
            Found::ByTest(test) => format!("test: {test}"),
            Found::Not => "SURVIVED".to_owned(),
        };
        let (name, area) = (&mutant.entry.name, mutant.area.name());
        say(format_args!("{name:width$} | {area:7} | {what} | {} s", began.elapsed().as_secs()));
        results.push((mutant, found));
    }
    Ok(tell(&results, arguments.floor))
}

fn choose<'a>(all: &'a [Mutant], arguments: &Arguments) -> Result<Vec<&'a Mutant>, String> {
    let names = &arguments.names;
    if let Some(name) = names.iter().find(|name| all.iter().all(|mutant| mutant.entry.name != **name)) {
        return Err(format!("there is no mutant `{name}`; `--list` prints them"));
    }
    let is_wanted = |mutant: &&Mutant| {
        (names.is_empty() || names.contains(&mutant.entry.name)) && arguments.area.is_none_or(|area| mutant.area == area)
    };
    let mut chosen: Vec<&Mutant> = all.iter().filter(is_wanted).collect();
    if let Some(sample) = arguments.sample {
        chosen.retain(|mutant| mutant.entry.survives.is_none());
        // Step by step through the list, so that a sample has some of each area.
        let step = (chosen.len() / sample.max(1)).max(1);
        let first = usize::try_from(real_time::day()).unwrap_or(0) % step;
        chosen = chosen.into_iter().skip(first).step_by(step).take(sample).collect();
    }
    Ok(chosen)
}

fn find(built: &Built, mutant: &Mutant, seeds: u64) -> Result<Found, String> {
    if seeds > 0
        && let Some(promise) = broken(built, mutant.number, seeds)?
    {
        return Ok(Found::ByCheck(promise));
    }
    Ok(tests::failing(built, mutant)?.map_or(Found::Not, Found::ByTest))
}

/// What `check` would say of it.
fn broken(built: &Built, number: usize, seeds: u64) -> Result<Option<String>, String> {
    let mut simulations = Command::new(&built.simulations);
    simulations.args(["until-broken", "--seeds", &seeds.to_string()]).env(CHOICE, number.to_string());
    simulations.current_dir(built.tree.join("simulations")).stdin(Stdio::null()).stderr(Stdio::null());
    let output = simulations.output().map_err(|error| format!("the simulations cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let last = told.lines().last().unwrap_or_default();
    Ok(match last {
        KEPT => None,
        _ if last.starts_with(BROKEN) || last.starts_with(SELDOM) => Some(last.to_owned()),
        _ => Some(format!("the simulations end in the middle: {}", output.status)),
    })
}

/// The score. Fails if fewer were found than must be.
fn tell(results: &[(&Mutant, Found)], floor: usize) -> Outcome {
    let count = |is: &dyn Fn(&Mutant, &Found) -> bool| results.iter().filter(|(mutant, found)| is(mutant, found)).count();
    let by_check = |_: &Mutant, found: &Found| matches!(found, Found::ByCheck(_));
    let engine = count(&|mutant, _| mutant.area.is_engine());
    let engine_by_check = count(&|mutant, found| mutant.area.is_engine() && by_check(mutant, found));
    let must = count(&|mutant, _| mutant.entry.survives.is_none());
    let missed = count(&|mutant, found| mutant.entry.survives.is_none() && *found == Found::Not);
    for (mutant, found) in results {
        match (&mutant.entry.survives, found) {
            (None, Found::Not) => say(format_args!("not found: {}: {}", mutant.entry.name, mutant.entry.harm)),
            (Some(_), Found::ByCheck(_) | Found::ByTest(_)) => {
                say(format_args!("found, though its entry says that it survives: {}", mutant.entry.name));
            }
            _ => {}
        }
    }
    say(format_args!("of {engine} mutants in the engine check alone finds {engine_by_check}"));
    say(format_args!(
        "mutants {} by-check {} by-tests {} survived {}",
        results.len(),
        count(&by_check),
        count(&|_, found| matches!(found, Found::ByTest(_))),
        count(&|_, found| *found == Found::Not),
    ));
    Outcome::from(100 * (must - missed) >= floor * must)
}
