//! Counting by valgrind's callgrind, which runs this program for one operation.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::noted::Count;
use super::operations::{Operation, Work};

/// Whether valgrind can be asked.
pub(super) fn is_installed() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Counts one operation, in a process of its own under valgrind.
pub(super) fn count(operation: &Operation) -> anyhow::Result<Count> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind");
    let output = Command::new("valgrind")
        // The order matters: callgrind 3.19 forgets to write its counts if it is told later.
        .args(["--quiet", "--tool=callgrind", "--dump-after=*counted_by_*", "--toggle-collect=*counted_by_callgrind*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["counted", operation.name])
        .output()
        .context("cannot run valgrind")?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it failed under valgrind:\n{}", String::from_utf8_lossy(&output.stderr));
    let runs: Vec<Performed> = told.lines().filter_map(|line| line.parse().ok()).collect();
    // The first one was to warm up.
    ensure!(runs.len() == 3, "{} of 3 runs are told:\n{told}", runs.len());
    let difference = |values: [f64; 2]| values[1] - values[0];
    let instructions = [instructions(&file, 2)?, instructions(&file, 3)?];
    let each = difference([1, 2].map(|run| runs[run].operations as f64));
    ensure!(each >= 1.0, "it did as much as before in its second run");
    let allocations = difference([1, 2].map(|run| runs[run].allocations as f64)) / each;
    Ok(Count { instructions: difference(instructions) / each, allocations })
}

/// What callgrind counted in one of the calls of [`counted_by_callgrind`].
fn instructions(file: &Path, call: u32) -> anyhow::Result<f64> {
    let file = file.with_extension(call.to_string());
    let text = fs::read_to_string(&file).context("callgrind did not write down what it counted")?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.context("callgrind wrote down no total")
}

/// Performs an operation so often, and then oftener: the difference is what it costs, whatever else is done for each run.
pub(super) fn perform(operation: &Operation) -> anyhow::Result<()> {
    for times in [operation.times[0], operation.times[0], operation.times[1]] {
        let mut work = (operation.prepare)(times)?;
        let mut operations = Ok(0);
        let counted = allocation_counter::measure(|| operations = counted_by_callgrind(&mut work));
        println!("{}", Performed { operations: operations?, allocations: counted.count_total });
    }
    Ok(())
}

/// What callgrind is told to count, by this name. What it returns is looked at, or else the last call would be a jump out
/// of it, and not counted.
#[inline(never)]
fn counted_by_callgrind(work: &mut Work) -> anyhow::Result<u64> {
    black_box(work())
}

/// What one run did: a line of the standard output.
struct Performed {
    operations: u64,
    allocations: u64,
}

impl std::fmt::Display for Performed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} operations, {} allocations", self.operations, self.allocations)
    }
}

impl std::str::FromStr for Performed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (operations, rest) = text.split_once(" operations, ").context("no operations")?;
        let allocations = rest.strip_suffix(" allocations").context("no allocations")?;
        Ok(Self { operations: operations.parse()?, allocations: allocations.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_did_is_read_as_it_was_told() {
        let performed: Performed = Performed { operations: 7, allocations: 12 }.to_string().parse().unwrap();
        assert_eq!((performed.operations, performed.allocations), (7, 12));
        assert!("seven operations".parse::<Performed>().is_err());
    }

    #[test]
    fn the_total_is_found_in_what_callgrind_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callgrind");
        fs::write(file.with_extension("2"), "summary: 12\n\n\ntotals: 1234\n").unwrap();
        assert_eq!(instructions(&file, 2).unwrap(), 1234.0);
        assert!(instructions(&file, 3).is_err());
    }
}
