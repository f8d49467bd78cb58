//! What several commands take: a seed or a file, a kind, a mode, minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use sessionmesh_simulations::planted::{self, Planted};
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};

/// Which scenario: all that can be said of it on the command line.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// A seed (a number), or a file with a scenario
    #[arg(value_name = "SEED|FILE")]
    target: String,
    /// Aim the seed at one kind of faults, as a failure says
    #[arg(long, value_parser = kinds(), value_name = "KIND")]
    kind: Option<Kind>,
    /// Who holds copies: all-to-all, or primary-backup-N
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
}

/// A scenario, and how to name it on the command line to play it again.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) scenario: Scenario,
    pub(super) name: String,
}

impl Named {
    /// The scenario of a seed, with anything that can be drawn.
    pub(super) fn drawn(seed: u64) -> Self {
        Self { scenario: Scenario::draw(seed), name: seed.to_string() }
    }

    /// The scenario of a seed, about one kind of faults in one mode.
    pub(super) fn aimed(seed: u64, kind: Kind, mode: Mode) -> Self {
        Self {
            scenario: Scenario::aimed(seed, kind, mode),
            name: format!("{seed} --kind {} --mode {mode}", kind.name()),
        }
    }

    /// The same, with a bug planted if there is one.
    pub(super) fn with(mut self, bug: Option<&Planted>) -> Self {
        if let Some(bug) = bug {
            self.name += &format!(" --bug {}", bug.name);
        }
        self
    }

    /// The scenario in a file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let scenario = text.parse().map_err(|error| format!("{shown} is no scenario that can be played: {error}"))?;
        Ok(Self { scenario, name: shown.to_string() })
    }
}

impl Which {
    /// The scenario that is meant.
    pub(super) fn named(&self) -> Result<Named, String> {
        let Self { target, kind, mode } = self;
        if let Ok(seed) = target.parse() {
            if kind.is_none() && mode.is_none() {
                return Ok(Named::drawn(seed));
            }
            let drawn = Scenario::draw(seed);
            return Ok(Named::aimed(seed, kind.unwrap_or(drawn.kind), mode.unwrap_or(drawn.mode)));
        }
        let path = PathBuf::from(target);
        if !path.exists() {
            return Err(format!("`{target}` is neither a seed (a number from 0 on) nor a file"));
        }
        if kind.is_some() || mode.is_some() {
            return Err("--kind and --mode are for seeds: a file says them itself".to_owned());
        }
        Named::read(&path)
    }
}

/// The names of all kinds, each with its kind.
pub(super) fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(|(_, name)| name))
        .map(|name| name.parse().expect("only names of kinds are possible"))
}

/// Minutes, with a fraction.
pub(super) fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "minutes are a number".to_owned())?;
    Duration::try_from_secs_f64(60.0 * minutes).map_err(|_| "so many minutes cannot be waited".to_owned())
}

/// A planted bug by its name.
pub(super) fn bug(name: &str) -> Result<&'static Planted, String> {
    planted::find(name).ok_or_else(|| {
        let names: Vec<_> = planted::all().iter().map(|planted| planted.name).collect();
        match names.is_empty() {
            true => "no bugs can be planted in this build".to_owned(),
            false => format!("the bugs are {}", names.join(", ")),
        }
    })
}
