//! Settings from TOML and from the environment. Each given key is checked by [`KEYS`] while its origin is known.

use super::Config;
use super::error::{ConfigError, Origin, SyntaxError};
use super::keys::{self, Allowed, ENV_PREFIX, KEYS};
use super::origins::Origins;
use crate::security::secret::SecretError;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// How alike (0 to 1, Jaro-Winkler) a name must be to be suggested.
const ALIKE: f64 = 0.8;

impl Config {
    /// Loads the settings as a program or container usually wants them: the defaults, then `file` if there is one, then
    /// the environment of the process, which overrides both. Call [`validate`](Self::validate) once nothing else will
    /// change.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let ours = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::load_with(file, ours)
    }

    /// [`load`](Self::load) with these variables. All sources are laid over each other before anything is concluded: a
    /// variable may choose the mode to which a number in the file belongs.
    pub(super) fn load_with(
        file: Option<&Path>,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::on(&Self::default());
        if let Some(path) = file {
            layers.lay(read(path)?, &Origin::from(path))?;
        }
        layers.lay_variables(vars)?;
        Ok(layers.into_config())
    }

    /// Reads a TOML file. Settings that it does not contain have their defaults.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        over_defaults(read(path)?, &Origin::from(path))
    }

    /// Reads TOML text. Settings that it does not contain have their defaults.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        over_defaults(parse(text, &Origin::Text)?, &Origin::Text)
    }

    /// Reads settings that are already parsed, for a program that keeps its own settings in the same file and has taken
    /// them out. `table` is anything that serde sees as a map from names to values, such as a `toml::Table` of any
    /// version of `toml`. Errors name `origin`.
    pub fn from_table(table: &(impl Serialize + ?Sized), origin: &Origin) -> Result<Self, ConfigError> {
        let no_table = |reason| ConfigError::NoTable { origin: origin.clone(), reason };
        match serde_json::to_value(table).map_err(|error| no_table(error.to_string()))? {
            Value::Object(given) => over_defaults(given, origin),
            _ => Err(no_table("it is a single value or a list".to_owned())),
        }
    }

    /// Overrides settings with `vars`, pairs of name and value. Names that do not begin with [`ENV_PREFIX`] are
    /// skipped. An unknown name that does is an error, so that no misspelled setting is silently ignored. The settings
    /// in `self` must be in range too, except that the name may still be missing.
    pub fn from_env_over(self, vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        check_each(&self)?;
        let mut layers = Layers::on(&self);
        layers.lay_variables(vars)?;
        Ok(layers.into_config())
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    parse(&text, &Origin::from(path))
}

fn parse(text: &str, origin: &Origin) -> Result<Map<String, Value>, ConfigError> {
    let syntax = |reason| ConfigError::Syntax { origin: origin.clone(), reason: SyntaxError::new(reason) };
    let table: toml::Table = text.parse().map_err(syntax)?;
    let value = |value| serde_json::to_value(value).expect("TOML values fit into JSON");
    Ok(table.into_iter().map(|(key, in_toml)| (key, value(in_toml))).collect())
}

fn over_defaults(given: Map<String, Value>, origin: &Origin) -> Result<Config, ConfigError> {
    let mut layers = Layers::on(&Config::default());
    layers.lay(given, origin)?;
    Ok(layers.into_config())
}

/// Settings of one source laid over those of others.
struct Layers {
    values: Map<String, Value>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Layers {
    fn on(config: &Config) -> Self {
        let shown = shown_values(config);
        Self { origins: config.origins.still(&shown), values: with_secrets(shown, config) }
    }

    /// Replaces what is given under the names of settings.
    fn lay(&mut self, given: Map<String, Value>, origin: &Origin) -> Result<(), ConfigError> {
        for (key, value) in given {
            let known = KEYS.iter().find(|(name, _)| *name == key);
            let &(key, allowed) =
                known.ok_or_else(|| ConfigError::UnknownKey { nearest: nearest(&key), key, origin: origin.clone() })?;
            let refused = || impossible(key, &value, allowed, origin);
            allowed.admits(&value).then_some(()).ok_or_else(refused)?;
            self.set(key, value, origin.clone());
        }
        Ok(())
    }

    /// Replaces what environment variables give.
    fn lay_variables(&mut self, vars: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (variable, text) in vars {
            let Some(rest) = variable.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Some(&(key, allowed)) = KEYS.iter().find(|(name, _)| name.to_ascii_uppercase() == rest) else {
                return Err(unknown_variable(variable));
            };
            let origin = Origin::Variable(variable);
            let parsed = allowed.parse(&text);
            // What is wrong with one of several secrets is not said of all of them together.
            let given = parsed.clone().filter(|_| allowed == Allowed::Secrets).unwrap_or_else(|| Value::from(text));
            let refused = || impossible(key, &given, allowed, &origin);
            let value = parsed.filter(|value| allowed.admits(value)).ok_or_else(refused)?;
            self.set(key, value, origin);
        }
        Ok(())
    }

    fn set(&mut self, key: &'static str, value: Value, origin: Origin) {
        self.values.insert(key.to_owned(), value);
        self.origins.insert(key, origin);
    }

    fn into_config(self) -> Config {
        let values = serde_json::from_value(Value::Object(self.values));
        let mut config: Config = values.expect("values that KEYS admits are values of Config");
        config.origins = Origins::of(self.origins, &shown_values(&config));
        config
    }
}

/// Checks every value by itself, for settings that the program made. A missing name is left to
/// [`validate`](Config::validate).
pub(super) fn check_each(config: &Config) -> Result<(), ConfigError> {
    let values = with_secrets(shown_values(config), config);
    let refused = KEYS.iter().find_map(|&(key, allowed)| {
        let value = values.get(key)?;
        let unnamed = key == "name" && config.name.is_empty();
        (!unnamed && !allowed.admits(value)).then(|| impossible(key, value, allowed, &Origin::Program))
    });
    refused.map_or(Ok(()), Err)
}

/// The settings by name, in the neutral form in which sources are laid over each other, without secrets. Those that are `None` are
/// absent.
pub(super) fn shown_values(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(values)) => values,
        other => unreachable!("a struct of plain values is an object: {other:?}"),
    }
}

/// The same with the secrets, which what serializes does not show.
fn with_secrets(mut shown: Map<String, Value>, config: &Config) -> Map<String, Value> {
    let secrets = config.secret.iter().map(|secret| Value::from(secret.to_text().as_str())).collect();
    shown.insert("secret".to_owned(), secrets);
    shown
}

fn impossible(key: &'static str, value: &Value, allowed: Allowed, origin: &Origin) -> ConfigError {
    if allowed == Allowed::Secrets {
        // The value is not repeated: it may be a secret that was mistyped.
        let reason = keys::secrets(value).and_then(Result::err).unwrap_or(SecretError::Encoding);
        return ConfigError::Secret { origin: origin.clone(), reason };
    }
    // A table is not repeated either: a secret may be in it that was meant to be outside.
    let is_table = value.is_object() || value.as_array().is_some_and(|all| all.iter().any(Value::is_object));
    let shown = if is_table { "a table".to_owned() } else { value.to_string() };
    ConfigError::Impossible {
        key,
        value: if value.is_null() { "NaN or infinite".to_owned() } else { shown },
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
