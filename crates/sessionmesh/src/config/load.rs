//! Settings from TOML and from the environment. Each given key is checked by [`KEYS`] while its origin is known.

use super::Config;
use super::error::{ConfigError, Origin, SyntaxError};
use super::keys::{Allowed, ENV_PREFIX, KEYS};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;

/// How alike (0 to 1, Jaro-Winkler) a name must be to be suggested.
const ALIKE: f64 = 0.8;

impl Config {
    /// The settings that a program or container usually wants: defaults, then `file` if there is one, then the
    /// process's environment over both. Call [`validate`](Self::validate) when nothing else will be changed.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config = file.map_or_else(|| Ok(Self::default()), Self::from_file)?;
        let ours = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        config.from_env_over(ours)
    }

    /// Reads a TOML file; what it does not give has its default.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
        Self::parse(&text, &Origin::from(path))
    }

    /// Reads TOML text; what it does not give has its default.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text, &Origin::Text)
    }

    /// Reads what was parsed already, for a program that keeps its own settings in the same file and has taken them out.
    /// `table` is what serde sees as a map from names to values: a `toml::Table`, say, of whatever version of `toml`.
    /// `origin` is named in errors.
    pub fn from_table(table: &(impl Serialize + ?Sized), origin: &Origin) -> Result<Self, ConfigError> {
        let no_table = |reason| ConfigError::NoTable { origin: origin.clone(), reason };
        let Value::Object(given) = serde_json::to_value(table).map_err(|error| no_table(error.to_string()))? else {
            return Err(no_table("it is a single value or a list".to_owned()));
        };
        let mut values = to_values(&Self::default());
        for (key, value) in given {
            let known = KEYS.iter().find(|(name, _)| *name == key);
            let &(key, allowed) =
                known.ok_or_else(|| ConfigError::UnknownKey { nearest: nearest(&key), key, origin: origin.clone() })?;
            let refused = || impossible(key, &value, allowed, origin);
            allowed.admits(&value).then_some(()).ok_or_else(refused)?;
            values.insert(key.to_owned(), value);
        }
        Ok(from_values(values))
    }

    /// Replaces what `vars` give, as pairs of name and value. Names that do not begin with [`ENV_PREFIX`] are skipped;
    /// an unknown one that does is an error, so that no misspelled setting is silently ignored. What `self` has must be
    /// in range too, except that the name may still be missing.
    pub fn from_env_over(self, vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        check_each(&self)?;
        let mut values = to_values(&self);
        for (variable, text) in vars {
            let Some(rest) = variable.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Some(&(key, allowed)) = KEYS.iter().find(|(name, _)| name.to_ascii_uppercase() == rest) else {
                return Err(unknown_variable(variable));
            };
            let parsed = allowed.parse(&text).filter(|value| allowed.admits(value));
            let refused = || impossible(key, &Value::from(text), allowed, &Origin::Variable(variable));
            values.insert(key.to_owned(), parsed.ok_or_else(refused)?);
        }
        Ok(from_values(values))
    }

    fn parse(text: &str, origin: &Origin) -> Result<Self, ConfigError> {
        let syntax = |reason| ConfigError::Syntax { origin: origin.clone(), reason: SyntaxError::new(reason) };
        let table: toml::Table = text.parse().map_err(syntax)?;
        Self::from_table(&table, origin)
    }
}

/// Checks every value by itself, for settings that the program made. A missing name is left to
/// [`validate`](Config::validate).
pub(super) fn check_each(config: &Config) -> Result<(), ConfigError> {
    let values = to_values(config);
    let refused = KEYS.iter().find_map(|&(key, allowed)| {
        let value = values.get(key)?;
        let unnamed = key == "name" && config.name.is_empty();
        (!unnamed && !allowed.admits(value)).then(|| impossible(key, value, allowed, &Origin::Program))
    });
    refused.map_or(Ok(()), Err)
}

/// The settings by name, in the neutral form in which sources are laid over each other. Those that are `None` are absent.
fn to_values(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(values)) => values,
        other => unreachable!("a struct of plain values is an object: {other:?}"),
    }
}

fn from_values(values: Map<String, Value>) -> Config {
    serde_json::from_value(Value::Object(values)).expect("values that KEYS admits are values of Config")
}

fn impossible(key: &'static str, value: &Value, allowed: Allowed, origin: &Origin) -> ConfigError {
    ConfigError::Impossible {
        key,
        value: if value.is_null() { "NaN or infinite".to_owned() } else { value.to_string() },
        allowed: allowed.to_string(),
        origin: origin.clone(),
    }
}

fn unknown_variable(variable: String) -> ConfigError {
    let rest = variable[ENV_PREFIX.len()..].to_ascii_lowercase();
    let nearest = nearest(&rest).map(|name| format!("{ENV_PREFIX}{}", name.to_ascii_uppercase()));
    ConfigError::UnknownVariable { variable, nearest }
}

/// The setting whose name resembles `key` most, if any does.
fn nearest(key: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|&(name, _)| (strsim::jaro_winkler(name, key), name))
        .filter(|&(alike, _)| alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
