//! The settings of `sessionmesh node`: those of the library, and those of the application.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use sessionmesh::Config;
use sessionmesh::config::{ConfigError, ENV_PREFIX, Origin, SyntaxError};
use toml::Table;

use super::app::COOKIE;

/// The key of the application's own address, in a file.
const HTTP: &str = "http";
/// The key of the name of a cookie that names the node to balancers.
const ROUTE_COOKIE: &str = "route_cookie";
/// The keys of the admin address: where it is, what lets others than this machine in, and whether values may be shown.
const ADMIN: &str = "admin";
const ADMIN_TOKEN: &str = "admin_token";
const ADMIN_REVEAL: &str = "admin_reveal";
/// The longest name of that cookie.
const ROUTE_COOKIE_CHARS_MAX: usize = 64;

/// What a node is started with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Where the application listens.
    pub(crate) http: SocketAddr,
    /// The name of the cookie that names this node to balancers; none: there is no such cookie.
    pub(crate) route_cookie: Option<String>,
    /// Where operators ask.
    pub(crate) admin: AdminSettings,
    /// All else.
    pub(crate) mesh: Config,
}

/// How the admin address is served.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct AdminSettings {
    /// The address; none: it is not served.
    pub(crate) at: Option<SocketAddr>,
    /// Lets others than this machine in.
    pub(crate) token: Option<String>,
    /// Whether what is in sessions may be shown.
    pub(crate) reveal: bool,
}

/// Without the token.
impl fmt::Debug for AdminSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSettings").field("at", &self.at).field("reveal", &self.reveal).finish_non_exhaustive()
    }
}

/// Reads `file`, if there is one, and the variables of this process over it.
///
/// # Errors
///
/// A line that says what to change, and where.
pub(crate) fn load(file: Option<&Path>) -> Result<Settings, String> {
    let settings = unchecked(file)?;
    settings.mesh.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

/// As [`load`], for whom no complete settings are needed: there may be no name.
///
/// # Errors
///
/// A line that says what to change, and where.
pub(crate) fn unchecked(file: Option<&Path>) -> Result<Settings, String> {
    let (table, origin) = match file {
        Some(path) => (read(path)?, Origin::File(path.to_owned())),
        None => (Table::new(), Origin::Program),
    };
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    overlay(split(table, &origin)?, std::env::vars_os().map(|(name, value)| (text(name), text(value))))
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason }.to_string())?;
    text.parse().map_err(|reason| {
        let origin = Origin::File(path.to_owned());
        ConfigError::Syntax { origin, reason: SyntaxError::new(reason) }.to_string()
    })
}

/// Takes out what is ours; the library refuses keys that it does not know.
fn split(mut table: Table, origin: &Origin) -> Result<Settings, String> {
    let mut text_of = |key| {
        Some(match table.remove(key)? {
            toml::Value::String(text) => text,
            other => format!("a TOML {}", other.type_str()),
        })
    };
    let http = match text_of(HTTP) {
        Some(text) => address(HTTP, &text, origin)?,
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
    };
    let route_cookie = text_of(ROUTE_COOKIE).map(|text| cookie_name(text, origin)).transpose()?;
    let at = text_of(ADMIN).map(|text| address(ADMIN, &text, origin)).transpose()?;
    let token = text_of(ADMIN_TOKEN);
    let reveal = match table.remove(ADMIN_REVEAL) {
        Some(toml::Value::Boolean(reveal)) => reveal,
        Some(other) => flag(&format!("a TOML {}", other.type_str()), origin)?,
        None => false,
    };
    let mesh = Config::from_table(&table, origin).map_err(|error| error.to_string())?;
    Ok(Settings { http, route_cookie, admin: AdminSettings { at, token, reveal }, mesh })
}

fn overlay(mut settings: Settings, variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, String> {
    let mut theirs = Vec::new();
    for (name, value) in variables {
        match name.strip_prefix(ENV_PREFIX).map(str::to_ascii_lowercase).as_deref() {
            Some(HTTP) => settings.http = address(HTTP, &value, &Origin::Variable(name))?,
            Some(ADMIN) => settings.admin.at = Some(address(ADMIN, &value, &Origin::Variable(name))?),
            Some(ADMIN_TOKEN) => settings.admin.token = Some(value),
            Some(ADMIN_REVEAL) => settings.admin.reveal = flag(&value, &Origin::Variable(name))?,
            Some(ROUTE_COOKIE) => settings.route_cookie = Some(cookie_name(value, &Origin::Variable(name))?),
            _ => theirs.push((name, value)),
        }
    }
    settings.mesh = settings.mesh.from_env_over(theirs).map_err(|error| error.to_string())?;
    Ok(settings)
}

fn address(key: &str, text: &str, origin: &Origin) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{key}` cannot be {text} (from {origin}); allowed is an address with a port, such as 127.0.0.1:8080")
    })
}

fn flag(text: &str, origin: &Origin) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{ADMIN_REVEAL}` cannot be {text} (from {origin}); allowed is true or false"))
}

/// What is certainly a name that browsers take and balancers can be told.
fn cookie_name(text: String, origin: &Origin) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=ROUTE_COOKIE_CHARS_MAX).contains(&text.len()) && text.chars().all(plain) && text != COOKIE {
        return Ok(text);
    }
    Err(format!(
        "`route_cookie` cannot be {text} (from {origin}); allowed are 1 to {ROUTE_COOKIE_CHARS_MAX} characters of \
         A-Z a-z 0-9 _ -, but not {COOKIE}, the name of the session cookie"
    ))
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
        assert_eq!(settings.mesh.name, "web-1");
        assert_eq!(settings.mesh.mode, sessionmesh::Mode::PrimaryBackup { backups: 2 });
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
    fn the_route_cookie_is_off_until_it_has_a_name() {
        assert_eq!(from_text("", &[]).unwrap().route_cookie, None);
        assert_eq!(from_text("route_cookie = 'route'", &[]).unwrap().route_cookie.as_deref(), Some("route"));
        let variables = [("SESSIONMESH_ROUTE_COOKIE", "node")];
        assert_eq!(from_text("route_cookie = 'route'", &variables).unwrap().route_cookie.as_deref(), Some("node"));
        for wrong in ["''", "'a b'", "'SESSIONID'", "true"] {
            let error = from_text(&format!("route_cookie = {wrong}"), &[]).unwrap_err();
            assert!(error.starts_with("`route_cookie` cannot be "), "{error}");
        }
    }

    #[test]
    fn the_admin_address_is_off_until_it_is_given_and_its_token_is_not_shown() {
        assert_eq!(from_text("", &[]).unwrap().admin, AdminSettings::default());
        let text = "admin = '127.0.0.1:7'\nadmin_token = 'swordfish'\nadmin_reveal = true";
        let admin = from_text(text, &[("SESSIONMESH_ADMIN", "127.0.0.1:8")]).unwrap().admin;
        assert_eq!(
            (admin.at.map(|at| at.port()), admin.token.as_deref(), admin.reveal),
            (Some(8), Some("swordfish"), true)
        );
        assert!(!format!("{admin:?}").contains("swordfish"));
        let variables = [("SESSIONMESH_ADMIN_REVEAL", "yes")];
        assert!(from_text("", &variables).unwrap_err().starts_with("`admin_reveal` cannot be yes"));
        assert!(from_text("admin = 7", &[]).unwrap_err().starts_with("`admin` cannot be a TOML integer"));
    }

    #[test]
    fn what_is_misspelled_is_refused() {
        assert!(from_text("htp = '127.0.0.1:81'", &[]).unwrap_err().contains("unknown key `htp`"));
        assert!(from_text("", &[("SESSIONMESH_HTPP", "")]).unwrap_err().contains("SESSIONMESH_HTPP"));
    }
}
