//! The settings of `sessionmesh node`: those of the library, and `http`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use sessionmesh::Config;
use sessionmesh::config::{ConfigError, ENV_PREFIX, Origin};
use toml::Table;

/// The key of the application's own address, in a file.
const HTTP: &str = "http";

/// What a node is started with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Where the application listens.
    pub(crate) http: SocketAddr,
    /// All else.
    pub(crate) mesh: Config,
}

/// Reads `file`, if there is one, and `variables` over it.
///
/// # Errors
///
/// A line that says what to change, and where.
pub(crate) fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, String> {
    let (table, origin) = match file {
        Some(path) => (read(path)?, Origin::File(path.to_owned())),
        None => (Table::new(), Origin::Program),
    };
    let settings = split(table, &origin)?;
    let settings = overlay(settings, variables)?;
    settings.mesh.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason }.to_string())?;
    text.parse().map_err(|reason| {
        let origin = Origin::File(path.to_owned());
        ConfigError::Syntax { origin, reason: Box::new(reason) }.to_string()
    })
}

/// Takes out what is ours; the library refuses keys that it does not know.
fn split(mut table: Table, origin: &Origin) -> Result<Settings, String> {
    let http = match table.remove(HTTP) {
        Some(toml::Value::String(text)) => address(&text, origin)?,
        Some(other) => address(&format!("a TOML {}", other.type_str()), origin)?,
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
    };
    let mesh = Config::from_toml_table(&table, origin).map_err(|error| error.to_string())?;
    Ok(Settings { http, mesh })
}

fn overlay(mut settings: Settings, variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, String> {
    let http = format!("{ENV_PREFIX}{}", HTTP.to_ascii_uppercase());
    let (ours, theirs): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(name, _)| *name == http);
    if let Some((name, value)) = ours.into_iter().next() {
        settings.http = address(&value, &Origin::Variable(name))?;
    }
    settings.mesh = settings.mesh.from_env_over(theirs).map_err(|error| error.to_string())?;
    Ok(settings)
}

fn address(text: &str, origin: &Origin) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`http` cannot be {text} (from {origin}); allowed is an address with a port, as 127.0.0.1:8080")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        overlay(split(text.parse().unwrap(), &Origin::Text)?, variables)
    }

    #[test]
    fn the_applications_key_is_split_from_the_librarys() {
        let settings = from_text("name = 'web-1'\nhttp = '127.0.0.1:81'\nbackups = 2", &[]).unwrap();
        assert_eq!(settings.http, SocketAddr::from(([127, 0, 0, 1], 81)));
        assert_eq!((settings.mesh.name.as_str(), settings.mesh.backups), ("web-1", 2));
        assert_eq!(from_text("", &[]).unwrap().http.port(), 8080);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let variables = [("SESSIONMESH_HTTP", "[::1]:82"), ("SESSIONMESH_NAME", "web-2"), ("HOME", "/")];
        let settings = from_text("name = 'web-1'\nhttp = '127.0.0.1:81'", &variables).unwrap();
        assert_eq!((settings.http.to_string().as_str(), settings.mesh.name.as_str()), ("[::1]:82", "web-2"));
    }

    #[test]
    fn a_wrong_address_is_named_with_its_origin() {
        let error = from_text("http = 8080", &[]).unwrap_err();
        assert!(error.starts_with("`http` cannot be a TOML integer (from the given TOML text)"), "{error}");
        let error = from_text("", &[("SESSIONMESH_HTTP", "localhost")]).unwrap_err();
        assert!(error.contains("environment variable SESSIONMESH_HTTP"), "{error}");
    }

    #[test]
    fn what_is_misspelled_is_refused() {
        assert!(from_text("htp = '127.0.0.1:81'", &[]).unwrap_err().contains("unknown key `htp`"));
        assert!(from_text("", &[("SESSIONMESH_HTPP", "")]).unwrap_err().contains("SESSIONMESH_HTPP"));
    }
}
