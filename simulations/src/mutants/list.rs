//! The mutants as they stand in their files.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// What the rules are about that a mutant breaks: each has a file of its own, `mutants/AREA.ron`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Tasks, links and the store of the replication engine.
    Engine,
    /// The rules that the engine asks: leases, placement, acknowledgements, merging, membership.
    Core,
    /// The sessions of a user.
    Users,
    /// Renewals and moves.
    Moves,
    /// The layer for axum.
    Layer,
    /// Sessions as whole records.
    Records,
}

impl Area {
    /// All areas with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Engine, "engine"),
        (Self::Core, "core"),
        (Self::Users, "users"),
        (Self::Moves, "moves"),
        (Self::Layer, "layer"),
        (Self::Records, "records"),
    ];

    /// The name on the command line, and of the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Whether the rules of the replication engine are meant, which simulations play from end to end.
    #[must_use]
    pub fn is_engine(self) -> bool {
        matches!(self, Self::Engine | Self::Core)
    }
}

/// A mistake of one to five lines.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its place in the whole list, from 1 on: what the built program is told to make.
    pub number: usize,
    /// What it is about.
    pub area: Area,
    /// What its file says of it.
    pub entry: Entry,
}

/// A mutant in its file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name on the command line.
    pub name: String,
    /// What goes wrong for a user.
    pub harm: String,
    /// Where the text is, from the root of the repository.
    pub file: String,
    /// What stands there: once in this file.
    pub text: String,
    /// What a mutant has instead. If `MUTANT` is in it, it is all that is put there, and `MUTANT` is the condition: for
    /// statements. Otherwise both are expressions, of which one is chosen.
    pub instead: String,
    /// What found it when the list was scored last.
    pub by: By,
}

/// What finds a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub enum By {
    /// The simulations.
    Check,
    /// Not the simulations, but a test.
    Tests,
    /// Nothing, and why: it is equivalent, or what is neither played nor tested.
    Nothing(String),
    /// Nobody has tried it yet.
    Unknown,
}

/// The word that stands for "this mutant is made".
pub const CONDITION: &str = "MUTANT";

/// Reads all mutants from a folder with a file for each area, in the order of the areas.
///
/// # Errors
///
/// A file that is missing or no list, or a name that two have.
pub fn read(folder: &Path) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (area, name) in Area::ALL {
        let path = folder.join(name).with_extension("ron");
        let shown = path.display();
        let text = fs::read_to_string(&path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let entries: Vec<Entry> = ron::from_str(&text).map_err(|error| format!("{shown} is no list: {error}"))?;
        for entry in entries {
            if mutants.iter().any(|mutant| mutant.entry.name == entry.name) {
                return Err(format!("{shown}: there are two mutants of the name {}", entry.name));
            }
            mutants.push(Mutant { number: mutants.len() + 1, area, entry });
        }
    }
    Ok(mutants)
}
