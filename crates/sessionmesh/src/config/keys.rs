//! The names of all settings and their allowed values: the one list that files, variables, checks and messages use.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

use crate::security::certificates::names::is_allowed_name;
use crate::security::secret::{Secret, SecretError, check_number};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The prefix of environment variables; the upper-case name of a setting follows it.
pub const ENV_PREFIX: &str = "SESSIONMESH_";

const MIB: u64 = 1024 * 1024;
const DEADLINE: Allowed = Allowed::Time("50ms", "60s");

/// Every setting with its allowed values, in the order of the fields of [`Config`](super::Config).
pub const KEYS: &[(&str, Allowed)] = &[
    ("name", Allowed::Label { least: 1 }),
    ("cluster", Allowed::Label { least: 1 }),
    ("bind", Allowed::Address),
    ("advertise", Allowed::Address),
    ("zone", Allowed::Label { least: 0 }),
    ("mode", Allowed::OneOf(&["all-to-all", "primary-backup"])),
    ("backups", Allowed::Count(1, 8)),
    ("ack", Allowed::OneOf(&["local", "copies", "owners"])),
    ("ack_copies", Allowed::Count(1, 255)),
    ("strict", Allowed::Flag),
    ("commit_deadline", DEADLINE),
    ("read_deadline", DEADLINE),
    ("max_inactive", Allowed::Time("100ms", "365days")),
    ("multicast", Allowed::Flag),
    ("multicast_group", Allowed::Group),
    ("multicast_port", Allowed::Count(1, 65_535)),
    ("multicast_interface", Allowed::Ipv4),
    ("multicast_ttl", Allowed::Count(0, 255)),
    ("seeds", Allowed::Endpoints),
    ("dns", Allowed::Endpoints),
    ("gossip_interval", Allowed::Time("20ms", "10s")),
    ("gossip_phi", Allowed::Real(1.0, 32.0)),
    ("discovery_window", Allowed::Time("0s", "60s")),
    ("min_members", Allowed::Count(1, 1_024)),
    ("audit_interval", Allowed::Time("1s", "1day")),
    ("max_sessions", Allowed::Count(1, 1_000_000_000_000)),
    ("user_attribute", Allowed::Text),
    ("user_pointer", Allowed::Pointer),
    ("max_sessions_per_user", Allowed::Count(0, 65_536)),
    ("max_attributes", Allowed::Count(1, 4_096)),
    ("max_key_bytes", Allowed::Count(1, 65_535)),
    ("max_value_bytes", Allowed::Count(1, 16 * MIB)),
    ("max_session_bytes", Allowed::Count(1, 16 * MIB)),
    ("tombstone_retention", Allowed::Time("1min", "365days")),
    ("max_tombstones", Allowed::Count(4_096, 1_000_000_000)),
    ("secret", Allowed::Secrets),
    ("secret_file", Allowed::Path),
    ("tls_cert", Allowed::Path),
    ("tls_key", Allowed::Path),
    ("tls_ca", Allowed::Path),
    ("tls_names", Allowed::Names),
    ("accept_plaintext", Allowed::Flag),
    ("insecure", Allowed::Flag),
];

/// The allowed values of a setting. Its `Display` is the text in error messages.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Allowed {
    /// `least` to 64 letters, digits, dots, underscores and hyphens.
    Label {
        /// The fewest characters.
        least: usize,
    },
    /// A duration with a unit, from the first to the second, both included.
    Time(&'static str, &'static str),
    /// A whole number from the first to the second, both included.
    Count(u64, u64),
    /// A number from the first to the second, both included.
    Real(f64, f64),
    /// True or false.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An IP address with a port.
    Address,
    /// An IPv4 address.
    Ipv4,
    /// An IPv4 multicast address.
    Group,
    /// A list of `host:port`.
    Endpoints,
    /// Text of 1 to 256 bytes.
    Text,
    /// A JSON pointer of at most 256 bytes.
    Pointer,
    /// One cluster secret, or a list of up to eight.
    Secrets,
    /// The path of a file.
    Path,
    /// A list of names that certificates may have.
    Names,
}

impl Allowed {
    /// Reads the text of an environment variable as a value of this kind; `None` if it cannot be one.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Count(..) => text.parse::<u64>().ok().map(Value::from),
            Self::Real(..) => text.parse::<f64>().ok().map(Value::from),
            Self::Flag => text.parse::<bool>().ok().map(Value::from),
            Self::Endpoints | Self::Secrets | Self::Names => {
                Some(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(Value::from).collect())
            }
            Self::Address => Some(Value::from(bracketed(text).unwrap_or_else(|| text.to_owned()))),
            _ => Some(Value::from(text)),
        }
    }

    /// Whether `value` is of this kind and in range. What is admitted, [`Config`](super::Config) can hold.
    pub(super) fn admits(self, value: &Value) -> bool {
        match self {
            Self::Label { least } => value.as_str().is_some_and(|text| is_label(text, least)),
            Self::Time(least, most) => value
                .as_str()
                .and_then(|text| humantime::parse_duration(text).ok())
                .is_some_and(|time| (constant(least)..=constant(most)).contains(&time)),
            Self::Count(least, most) => value.as_u64().is_some_and(|count| (least..=most).contains(&count)),
            Self::Real(least, most) => value.as_f64().is_some_and(|real| (least..=most).contains(&real)),
            Self::Flag => value.is_boolean(),
            Self::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Address => value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            Self::Ipv4 => ipv4(value).is_some(),
            Self::Text => value.as_str().is_some_and(|text| (1..=TEXT_BYTES_MAX).contains(&text.len())),
            Self::Pointer => value.as_str().is_some_and(is_pointer),
            Self::Secrets => secrets(value).is_some_and(|parsed| parsed.is_ok()),
            Self::Path => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Names => {
                value.as_array().is_some_and(|all| all.iter().all(|name| name.as_str().is_some_and(is_allowed_name)))
            }
            Self::Group => ipv4(value).is_some_and(|ip| ip.is_multicast()),
            Self::Endpoints => {
                value.as_array().is_some_and(|all| all.iter().all(|entry| entry.as_str().is_some_and(is_endpoint)))
            }
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { least } => write!(f, "{least} to {LABEL_BYTES_MAX} characters of A-Z a-z 0-9 . _ -"),
            Self::Time(least, most) => {
                write!(f, "a duration with a unit, from \"{least}\" to \"{most}\"")
            }
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Real(least, most) => write!(f, "a number from {least} to {most}"),
            Self::Flag => f.write_str("true or false"),
            Self::OneOf(words) => f.write_str(&words.join(" or ")),
            Self::Address => f.write_str("an IP address with a port, such as 192.0.2.1:7700 or [2001:db8::1]:7700"),
            Self::Ipv4 => f.write_str("an IPv4 address"),
            Self::Text => write!(f, "text of 1 to {TEXT_BYTES_MAX} bytes"),
            Self::Pointer => {
                write!(f, "empty or a JSON pointer, such as /user_id, of at most {TEXT_BYTES_MAX} bytes")
            }
            Self::Group => f.write_str("an IPv4 multicast address, 224.0.0.0 to 239.255.255.255"),
            Self::Secrets => {
                f.write_str("a secret of 32 bytes or more, as `sessionmesh keygen` makes it, or a list of them")
            }
            Self::Path => f.write_str("the path of a file"),
            Self::Names => f.write_str(
                "a list of DNS names, such names with *. in front, URIs, or * for any certificate of `tls_ca`",
            ),
            Self::Endpoints => f.write_str("a list of host:port, each with a port from 1 to 65535"),
        }
    }
}

const LABEL_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 256;

/// An IPv4 address in brackets with a port, without them: `[$(POD_IP)]:7700` fits addresses of both families.
fn bracketed(text: &str) -> Option<String> {
    let (host, port) = text.strip_prefix('[')?.split_once("]:")?;
    host.parse::<Ipv4Addr>().ok().map(|host| format!("{host}:{port}"))
}

/// RFC 6901: empty, or begins with a slash; a tilde is followed by 0 or 1.
fn is_pointer(text: &str) -> bool {
    let begins = text.is_empty() || text.starts_with('/');
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    begins && escaped && text.len() <= TEXT_BYTES_MAX
}

fn is_label(text: &str, least: usize) -> bool {
    (least..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A host name or IP address, IPv6 in brackets, and a port that can be dialled.
fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (bracketed || !host.contains(':'))
            && !host.contains(|c: char| c.is_whitespace() || c == ',' || c == '/')
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn ipv4(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

/// The secrets in a text or a list of texts; `None` for anything else.
pub(super) fn secrets(value: &Value) -> Option<Result<Vec<Secret>, SecretError>> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let parsed = texts.into_iter().map(Secret::parse).collect::<Result<Vec<_>, _>>();
    Some(parsed.and_then(|parsed| check_number(parsed.len()).map(|()| parsed)))
}

fn constant(bound: &str) -> Duration {
    humantime::parse_duration(bound).expect("bounds in KEYS are durations")
}

/// Durations as text with unit, in both directions.
pub(super) mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}

/// Secrets as a text or a list of texts. They are never written.
pub(super) fn secrets_from<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    let parsed = secrets(&Value::deserialize(from)?).ok_or_else(|| D::Error::custom("a secret is a text"))?;
    parsed.map_err(D::Error::custom)
}

/// [`Mode`] as the two keys `mode` and `backups`, in both directions.
pub(super) mod mode {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use sessionmesh_core::terms::Mode;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Name {
        AllToAll,
        PrimaryBackup,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(default)]
    struct Keys {
        mode: Name,
        backups: u8,
    }

    impl Default for Keys {
        fn default() -> Self {
            Self { mode: Name::PrimaryBackup, backups: 1 }
        }
    }

    pub(crate) fn serialize<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
        let keys = match *mode {
            Mode::AllToAll => Keys { mode: Name::AllToAll, ..Keys::default() },
            Mode::PrimaryBackup { backups } => Keys { mode: Name::PrimaryBackup, backups },
        };
        keys.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
        Ok(match Keys::deserialize(from)? {
            Keys { mode: Name::AllToAll, .. } => Mode::AllToAll,
            Keys { mode: Name::PrimaryBackup, backups } => Mode::PrimaryBackup { backups },
        })
    }
}

/// [`Ack`] as the two keys `ack` and `ack_copies`, in both directions.
pub(super) mod ack {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use sessionmesh_core::replication::acks::Ack;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Name {
        Local,
        Copies,
        Owners,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(default)]
    struct Keys {
        ack: Name,
        ack_copies: u8,
    }

    impl Default for Keys {
        fn default() -> Self {
            Self { ack: Name::Owners, ack_copies: 1 }
        }
    }

    pub(crate) fn serialize<S: Serializer>(ack: &Ack, to: S) -> Result<S::Ok, S::Error> {
        let keys = match *ack {
            Ack::Local => Keys { ack: Name::Local, ..Keys::default() },
            Ack::Copies(ack_copies) => Keys { ack: Name::Copies, ack_copies },
            Ack::Owners => Keys::default(),
        };
        keys.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ack, D::Error> {
        Ok(match Keys::deserialize(from)? {
            Keys { ack: Name::Local, .. } => Ack::Local,
            Keys { ack: Name::Copies, ack_copies } => Ack::Copies(ack_copies),
            Keys { ack: Name::Owners, .. } => Ack::Owners,
        })
    }
}
