//! `sessionmesh config check`: whether the settings are valid, where each comes from, and what a running node has instead.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use sessionmesh::Config;
use sessionmesh::config::{KEYS, Origin};

use crate::failure::Failure;
use crate::node::settings;
use crate::operator::{self, OperatorArgs};
use crate::terminal::{BOLD, FAINT, GOOD, ODD};

/// What `config` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ConfigCommand {
    /// Check the settings of a file and of this environment, and say where each comes from
    Check(CheckArgs),
}

#[derive(Clone, Debug, Args)]
struct CheckArgs {
    /// Configuration file; without it, only environment variables are used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what would change on the running node at the admin address
    #[arg(long)]
    against: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// One setting.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    setting: &'static str,
    value: Value,
    #[serde(serialize_with = "in_words")]
    origin: Origin,
    /// What the running node has, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Value>,
}

pub(crate) async fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let ConfigCommand::Check(args) = &args.command;
    let config = settings::load(args.config.as_deref()).map_err(Failure::Refused)?.mesh;
    let running = match args.against {
        true => Some(as_object(operator::running_settings(&args.operator).await?)),
        false => None,
    };
    let rows = rows(&config, running.as_ref());
    let changes = rows.iter().filter(|row| row.running.is_some()).count();
    if args.operator.json() {
        anstream::println!("{}", json!({ "valid": true, "settings": rows }));
    } else {
        show(&rows, running.is_some().then_some(changes));
    }
    if changes == 0 { Ok(()) } else { Err(Failure::Failed(None)) }
}

fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn in_words<S: Serializer>(origin: &Origin, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(origin)
}

fn rows(config: &Config, running: Option<&Map<String, Value>>) -> Vec<Row> {
    let (values, origins) = (as_object(serde_json::to_value(config).unwrap_or_default()), config.origins());
    let row = |&(setting, _): &(&'static str, _)| {
        let hidden = setting == "secret";
        let value = if hidden { json!("(hidden)") } else { values.get(setting).cloned().unwrap_or_default() };
        let differs = |running: &&Value| !hidden && **running != value;
        let there = running.map(|running| running.get(setting).unwrap_or(&Value::Null));
        let running = there.filter(differs).cloned();
        Row { setting, value, origin: origins[setting].clone(), running }
    };
    KEYS.iter().map(row).collect()
}

/// The settings, and how many of them would change, if they were compared.
fn show(rows: &[Row], changes: Option<usize>) {
    let (bold, faint, good, odd) = (BOLD, FAINT, GOOD, ODD);
    for Row { setting, value, origin, running } in rows {
        let shown = text(value);
        let given = if *origin == Origin::Default { FAINT } else { bold };
        anstream::println!("{given}{setting:<22}{given:#} {shown:<28} {faint}{origin}{faint:#}");
        if let Some(running) = running {
            anstream::println!("{:<22} {odd}{}{odd:#} {faint}on the running node{faint:#}", "", text(running));
        }
    }
    match changes {
        None => anstream::println!("{good}valid{good:#}"),
        Some(0) => anstream::println!("{good}valid{good:#}, and as on the running node"),
        Some(changes) => anstream::println!("{good}valid{good:#}; {changes} of them would change on the running node"),
    }
}

/// Without quotes where they say nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_says_where_it_comes_from_and_no_secret_is_shown() {
        let mut config = Config::from_toml("name = 'web-1'\nbackups = 2").unwrap();
        config.secret = sessionmesh::Secret::generate().into();
        let running = as_object(json!({ "name": "web-1", "cluster": "other" }));
        let rows = rows(&config, Some(&running));
        assert_eq!(rows.len(), KEYS.len());
        let row = |setting: &str| rows.iter().find(|row| row.setting == setting).unwrap();
        assert_eq!((&*row("name").origin.to_string(), &row("name").running), ("the given TOML text", &None));
        assert_eq!(
            (&*row("cluster").origin.to_string(), &row("cluster").running),
            ("the default", &Some(json!("other")))
        );
        let secret = config.secret[0].to_text().to_string();
        assert!(!serde_json::to_string(&rows).unwrap().contains(&secret));
    }
}
