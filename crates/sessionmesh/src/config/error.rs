//! What can be wrong with settings. Nothing was started or changed when one of these is returned.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::security::certificates::CertificateFileError;
use crate::security::secret::SecretError;
use crate::security::secret_file::SecretFileError;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A field that the program set.
    Program,
    /// TOML text that the program passed.
    Text,
    /// A file.
    File(PathBuf),
    /// An environment variable, by its full name.
    Variable(String),
}

impl From<&Path> for Origin {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Program => f.write_str("the program"),
            Self::Text => f.write_str("the given TOML text"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Why a text is not valid TOML, and in which line. Nothing of the text is shown, since the secret may stand there.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct SyntaxError(Box<dyn Error + Send + Sync>);

impl SyntaxError {
    /// Wraps the error of another parser, for a program that parses the text itself; see
    /// [`Config::from_table`](super::Config::from_table). Of an error of `toml` 1 only what is wrong and where is kept, of
    /// others the message.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match reason.into().downcast::<toml::de::Error>() {
            Ok(of_toml) => Self(without_text(&of_toml).into()),
            Err(of_others) => Self(of_others),
        }
    }
}

/// That of a parser may have the whole text.
impl fmt::Debug for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyntaxError").field(&self.0.to_string()).finish()
    }
}

/// What is wrong and where: the first line that `toml` shows is the place, those up to the message are from the text.
fn without_text(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    let place = shown.lines().next().filter(|line| line.starts_with("TOML parse error at line "));
    place.map_or_else(|| error.message().to_owned(), |place| format!("{place}: {}", error.message()))
}

/// Why settings were refused. The message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{origin} is not valid TOML: {reason}")]
    Syntax {
        /// The text.
        origin: Origin,
        /// What is wrong with the text, and in which line.
        reason: SyntaxError,
    },
    /// The program passed a value that is not a table of settings by name.
    #[error("{origin} is not a table of settings: {reason}")]
    NoTable {
        /// Where the value came from.
        origin: Origin,
        /// What the value is instead.
        reason: String,
    },
    /// There is no such setting.
    #[error("unknown key `{key}` in {origin}{}", suggestion(nearest))]
    UnknownKey {
        /// The key as given.
        key: String,
        /// The name of a setting that resembles it.
        nearest: Option<&'static str>,
        /// Where it was given.
        origin: Origin,
    },
    /// There is no setting for this environment variable.
    #[error("unknown environment variable {variable}{}", suggestion(nearest))]
    UnknownVariable {
        /// The variable's full name.
        variable: String,
        /// The name of a variable that resembles it.
        nearest: Option<String>,
    },
    /// The setting cannot have this value.
    #[error("`{key}` cannot be {value} (from {origin}); allowed is {allowed}")]
    Impossible {
        /// The setting.
        key: &'static str,
        /// The value as it was given.
        value: String,
        /// The allowed values.
        allowed: String,
        /// Where it was given.
        origin: Origin,
    },
    /// The node has no name.
    #[error(
        "`name` is missing: give this node a name that no other node has and that stays the same over restarts, \
         as `name = \"web-1\"` in the file or in SESSIONMESH_NAME"
    )]
    NameMissing,
    /// Other nodes could not reach this one at `address`.
    #[error(
        "other nodes cannot reach {address}: set `advertise` to the address they use for this node, \
         or `bind` to that address"
    )]
    Unadvertised {
        /// The unspecified address.
        address: SocketAddr,
    },
    /// Other nodes would use an address at which nobody listens.
    #[error(
        "`advertise` = {advertise} and `bind` = {bind} are of different address families, so nothing that is sent to \
         `advertise` arrives at `bind`: bind to an address of the same family, or to [::], which accepts both"
    )]
    OtherFamily {
        /// Where this node listens.
        bind: SocketAddr,
        /// The address that other nodes use for this one.
        advertise: SocketAddr,
    },
    /// The cluster secret cannot be used. It is not repeated in this error.
    #[error("`secret` (from {origin}) cannot be used: {reason}")]
    Secret {
        /// Where it was given.
        origin: Origin,
        /// What is wrong with it.
        reason: SecretError,
    },
    /// The file of the cluster secret cannot be used.
    #[error("`secret_file` {path} cannot be used: {reason}", path = path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SecretFileError,
    },
    /// Two settings give secrets.
    #[error("`secret` and `secret_file` ({path}) both give secrets: remove one of them", path = path.display())]
    SecretTwice {
        /// The file.
        path: PathBuf,
    },
    /// There is no file to read again.
    #[error("`secret_file` is not set, so there is nothing to read again; the secrets in use stay")]
    NoSecretFile,
    /// Plaintext beside a secret that does not exist.
    #[error(
        "`accept_plaintext` is for the time in which a cluster gets its secret or certificates: set `secret`, \
         `secret_file` or `tls_cert`, too (without them all traffic is plaintext)"
    )]
    PlaintextWithoutSecret,
    /// Only a part of what certificates need is there.
    #[error(
        "`{given}` is set and `{missing}` is not: certificates need `tls_cert`, `tls_key`, `tls_ca` and `tls_names`"
    )]
    CertificatesIncomplete {
        /// A setting that is there.
        given: &'static str,
        /// One that is not.
        missing: &'static str,
    },
    /// The certificates cannot be used.
    #[error("the certificates cannot be used: {reason}")]
    Certificates {
        /// What is wrong.
        #[from]
        reason: CertificateFileError,
    },
    /// There are no certificates to read again.
    #[error("`tls_cert` is not set, so there is nothing to read again")]
    NoCertificates,
    /// Nothing protects beacons.
    #[error(
        "certificates protect connections, and multicast has none: name other nodes in `seeds` or `dns` (and leave \
         `multicast` out), or set a cluster secret, too, which protects multicast"
    )]
    MulticastWithoutSecret,
    /// An address beyond loopback, without protection.
    #[error(
        "`{key}` = {address} is reachable from other machines, but without a cluster secret traffic is neither \
         encrypted nor authenticated: set `secret` to what `sessionmesh keygen` prints, the same on all nodes (or \
         `tls_cert`, if you have a PKI); or use a loopback address; or set `insecure = true` if you trust every machine that can reach it"
    )]
    Insecure {
        /// `bind` or `advertise`.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Commits would wait for more copies than are made.
    #[error(
        "`ack_copies` = {ack_copies} cannot be reached with `backups` = {backups}: every commit would time out; \
         raise `backups` or lower `ack_copies`"
    )]
    AckBeyondBackups {
        /// Copies to wait for.
        ack_copies: u8,
        /// Copies that are made.
        backups: u8,
    },
    /// `user_pointer` is set without `user_attribute`.
    #[error(
        "`user_pointer` = \"{pointer}\" points into an attribute: set `user_attribute` to the name of that attribute"
    )]
    PointerWithoutAttribute {
        /// The pointer.
        pointer: String,
    },
    /// Sessions cannot be counted per user.
    #[error(
        "`max_sessions_per_user` = {limit} needs the user of each session: set `user_attribute`, or give the builder \
         a user index"
    )]
    LimitWithoutUsers {
        /// The limit.
        limit: u32,
    },
    /// A value may be larger than the session it is in.
    #[error(
        "`max_value_bytes` = {value} is more than `max_session_bytes` = {session}: a value has to fit into a session"
    )]
    ValueBeyondSession {
        /// Limit of a value in bytes.
        value: u32,
        /// Limit of a session in bytes.
        session: u32,
    },
}

fn suggestion(nearest: &Option<impl fmt::Display>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
