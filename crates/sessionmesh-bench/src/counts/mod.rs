//! What single operations cost in instructions and allocations: figures that hold still, so that a change can be compared
//! with what was noted before.
//!
//! Instructions are those that valgrind's callgrind counts while it runs this program, one operation in each run. That is
//! leaner than `gungraun`, which brings a runner of its own version to be installed beside it.

mod callgrind;
mod layers;
mod nodes;
mod noted;
mod operations;
mod setting;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use self::noted::{Count, Noted, Outcome};
use self::operations::{OPERATIONS, Operation};
use self::setting::Setting;
use crate::report::{Page, Table};

/// What to do with the counts.
#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    /// Compare with the counts that are noted, and fail if one has grown by more than 3 %
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Note the counts, and write the table of performance.md anew
    #[arg(long)]
    write: bool,
    /// Count so often, and tell how far the counts lie apart; the median counts
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Count only operations of which the name contains this; nothing is compared or noted
    #[arg(long, value_name = "NAME", conflicts_with_all = ["check", "write"])]
    only: Option<String>,
    /// The folder of performance.md, and of performance/counts.json
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))]
    docs: PathBuf,
}

/// What lies between these lines of performance.md is written by `--write`.
const MARKS: [&str; 2] = ["<!-- counts: begin -->", "<!-- counts: end -->"];

/// Counts, and does with it what was asked for.
pub(crate) fn run(args: &CountsArgs) -> anyhow::Result<()> {
    ensure!(!cfg!(debug_assertions), "only a build with --release is worth counting");
    if !callgrind::is_installed() {
        println!("nothing is counted: valgrind is not installed (Debian: apt-get install valgrind)");
        return Ok(());
    }
    let file = args.docs.join("performance").join("counts.json");
    let setting = Setting::here()?;
    let noted = if args.check { Some(Noted::read(&file)?) } else { None };
    if let Some(other) = noted.as_ref().and_then(|noted| setting.other_than(&noted.measured_with)) {
        println!("not compared: measured with {other}. To note counts of here, see CONTRIBUTING.md");
        return Ok(());
    }
    let now = Noted { measured_with: setting, counts: count_all(args)? };
    println!("\n{}", table(&now).markdown());
    if args.write {
        now.write(&file)?;
        Page::replace(&args.docs, MARKS, &format!("\n{}\n{}\n", now.measured_with, table(&now).markdown()))?;
        println!("noted: {}", file.display());
    }
    noted.map_or(Ok(()), |noted| verdict(&noted, &now, &file))
}

/// Performs one operation, for valgrind, which runs it.
pub(crate) fn perform(name: &str) -> anyhow::Result<()> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name).context("there is no such operation")?;
    callgrind::perform(operation)
}

fn count_all(args: &CountsArgs) -> anyhow::Result<std::collections::BTreeMap<String, Count>> {
    let wanted = |operation: &&Operation| args.only.as_ref().is_none_or(|only| operation.name.contains(only.as_str()));
    let mut counts = std::collections::BTreeMap::new();
    for operation in OPERATIONS.iter().filter(wanted) {
        let began = std::time::Instant::now();
        let rounds = (0..args.rounds).map(|_| callgrind::count(operation)).collect::<anyhow::Result<Vec<Count>>>();
        let rounds = rounds.with_context(|| format!("{} cannot be counted", operation.name))?;
        let (count, spread) = Count::median(rounds);
        println!("{:<14} {count}, {spread:.2} % apart, {:.1} s", operation.name, began.elapsed().as_secs_f64());
        counts.insert(operation.name.to_owned(), count);
    }
    Ok(counts)
}

fn table(counts: &Noted) -> Table {
    let row = |operation: &Operation| {
        let count = counts.counts.get(operation.name)?;
        let digits = if count.instructions < 100.0 { 1 } else { 0 };
        let instructions = format!("{:.digits$}", count.instructions);
        Some(vec![operation.what.to_owned(), instructions, format!("{:.2}", count.allocations)])
    };
    let head = ["operation", "instructions", "allocations"];
    Table { rows: OPERATIONS.iter().filter_map(row).collect(), ..Table::new("", &head) }
}

/// Says what changed; an error if a count has grown, or is not noted.
fn verdict(noted: &Noted, now: &Noted, file: &Path) -> anyhow::Result<()> {
    let mut failed = false;
    for (name, outcome) in noted.compare(now) {
        match outcome {
            Outcome::Same => {}
            Outcome::Fell { .. } => println!("{name}: {outcome}. Note it: counts --write"),
            Outcome::Grew { .. } | Outcome::New | Outcome::Gone => {
                failed = true;
                println!("{name}: {outcome}");
            }
        }
    }
    if failed {
        bail!(
            "the counts are not those of {}. If it has to be so, say why in the commit, and note them: counts --write",
            file.display()
        );
    }
    println!("no count has grown by more than {} %", noted::GROWTH_MAX * 100.0);
    Ok(())
}
