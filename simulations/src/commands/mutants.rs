//! Mistakes that nobody planted: are they found, by the simulations or by the tests?

use std::process::{Command, Stdio};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use sessionmesh_simulations::mutants::list::{self, Area, By, Mutant};
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
    /// So many of those that were found when the list was scored, other ones each day
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// For each mutant so many seeds are played, from 0 on, until a promise breaks
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// Only the simulations, no tests
    #[arg(long)]
    without_tests: bool,
    /// So many of a hundred of those that were found before are found again, or it is a failure
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
    Ok(tell(&results, arguments))
}

fn choose<'a>(all: &'a [Mutant], arguments: &Arguments) -> Result<Vec<&'a Mutant>, String> {
    let names = &arguments.names;
    if let Some(name) = names.iter().find(|name| all.iter().all(|mutant| mutant.entry.name != **name)) {
        return Err(format!("there is no mutant `{name}`; `--list` prints them"));
    }
    let is_wanted = |mutant: &&Mutant| {
        (names.is_empty() || names.contains(&mutant.entry.name))
            && arguments.area.is_none_or(|area| mutant.area == area)
    };
    let mut chosen: Vec<&Mutant> = all.iter().filter(is_wanted).collect();
    if let Some(sample) = arguments.sample {
        chosen.retain(|mutant| was_found(mutant, !arguments.without_tests));
        // Step by step through the list, so that a sample has some of each area.
        let step = (chosen.len() / sample.max(1)).max(1);
        let first = usize::try_from(real_time::day()).unwrap_or(0) % step;
        chosen = chosen.into_iter().skip(first).step_by(step).take(sample).collect();
    }
    Ok(chosen)
}

/// Whether it was found before, by what is played now.
const fn was_found(mutant: &Mutant, with_tests: bool) -> bool {
    match mutant.entry.by {
        By::Check => true,
        By::Tests => with_tests,
        By::Nothing(_) | By::Unknown => false,
    }
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
    let last = until_broken(built, number, &["--seeds", &seeds.to_string()])?;
    if last == KEPT {
        return Ok(None);
    }
    let Some(after) = last.strip_prefix(BROKEN) else { return Ok(Some(last)) };
    // What breaks without the mutant as well is a fault of the library, and hides what there is to find.
    let first = after.split_whitespace().next().and_then(|after| after.parse::<u64>().ok());
    if let Some(seed) = first.and_then(|after| after.checked_sub(1)) {
        let alone = until_broken(built, 0, &["--only-seeds", "--seeds", "1", "--from", &seed.to_string()])?;
        if alone != KEPT {
            return Err(format!("seed {seed} breaks a promise without any mutant: mend that first ({alone})"));
        }
    }
    Ok(Some(last))
}

/// The last line that the simulations say when this mutant is made.
fn until_broken(built: &Built, number: usize, arguments: &[&str]) -> Result<String, String> {
    let mut simulations = Command::new(&built.simulations);
    simulations.arg("until-broken").args(arguments).env(CHOICE, number.to_string());
    simulations.current_dir(built.tree.join("simulations")).stdin(Stdio::null()).stderr(Stdio::null());
    let output = simulations.output().map_err(|error| format!("the simulations cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let last = told.lines().last().unwrap_or_default();
    let is_known = last == KEPT || [BROKEN, SELDOM].iter().any(|begin| last.starts_with(begin));
    Ok(if is_known { last.to_owned() } else { format!("the simulations end in the middle: {}", output.status) })
}

/// The score. Fails if fewer were found than must be.
fn tell(results: &[(&Mutant, Found)], arguments: &Arguments) -> Outcome {
    let count =
        |is: &dyn Fn(&Mutant, &Found) -> bool| results.iter().filter(|(mutant, found)| is(mutant, found)).count();
    let by_check = |_: &Mutant, found: &Found| matches!(found, Found::ByCheck(_));
    let engine = count(&|mutant, _| mutant.area.is_engine());
    let engine_by_check = count(&|mutant, found| mutant.area.is_engine() && by_check(mutant, found));
    let was_found = |mutant: &Mutant| was_found(mutant, !arguments.without_tests);
    let before = count(&|mutant, _| was_found(mutant));
    let again = count(&|mutant, found| was_found(mutant) && *found != Found::Not);
    for (Mutant { entry, .. }, _) in results.iter().filter(|(_, found)| *found == Found::Not) {
        let why = if let By::Nothing(why) = &entry.by { why } else { &entry.harm };
        say(format_args!("not found: {}: {why}", entry.name));
    }
    say(format_args!("of {engine} mutants in the engine check alone finds {engine_by_check}"));
    say(format_args!("of {before} that were found before {again} were found again"));
    say(format_args!(
        "mutants {} by-check {} by-tests {} survived {}",
        results.len(),
        count(&by_check),
        count(&|_, found| matches!(found, Found::ByTest(_))),
        count(&|_, found| *found == Found::Not),
    ));
    Outcome::from(100 * again >= arguments.floor * before)
}
