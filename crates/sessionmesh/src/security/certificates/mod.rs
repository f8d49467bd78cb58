//! Certificates of a PKI, from files: what this node presents, and what it accepts of others.

pub(crate) mod names;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, OtherError, RootCertStore};
use tokio_util::sync::CancellationToken;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use self::names::AllowedNames;
use super::private_file::PrivateFile;
use super::tls::verifier::End;
use crate::clock::Clock;

/// More than the certificates of all public authorities take.
const BYTES_MAX: u64 = 4 << 20;

/// Where certificates stand, and whose are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateSettings<'a> {
    pub(crate) cert: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) ca: &'a Path,
    pub(crate) names: &'a [String],
    pub(crate) cluster: &'a str,
}

/// Why certificates cannot be used. Those in use stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFileError {
    /// A file cannot be read.
    #[error("cannot read {file}: {reason}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Other users of this machine can read the private key.
    #[error("others on this machine can read {file} (mode {mode:03o}): take that away, with `chmod o= {file}`", file = file.display())]
    Exposed {
        /// The file of the key.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("{file} has no {what} in PEM (`-----BEGIN ...`){reason}", file = file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What it should have.
        what: &'static str,
        /// What is wrong, if anything was found.
        reason: String,
    },
    /// The certificate is not that of the key.
    #[error("`tls_key` is not the key of the first certificate in `tls_cert`")]
    OtherKey,
    /// The certificate has expired, or is not valid yet.
    #[error(
        "the certificate in `tls_cert`, or one behind it, is valid from {from} to {until} only: renew it, or set the clock",
        from = date(*from),
        until = date(*until)
    )]
    NotValidNow {
        /// Its beginning.
        from: SystemTime,
        /// Its end.
        until: SystemTime,
    },
    /// Other nodes with the same settings would not accept it.
    #[error("other nodes would refuse the certificate in `tls_cert`: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// To the second.
fn date(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

/// When a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

impl Validity {
    /// In which all of these are valid. Certificates that cannot be read are passed over: TLS refuses them.
    pub(crate) fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        chain
            .iter()
            .filter_map(Self::of)
            .reduce(|one, other| Self { from: one.from.max(other.from), until: one.until.min(other.until) })
    }

    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let [from, until] =
            [validity.not_before, validity.not_after].map(|time| SystemTime::UNIX_EPOCH + time.to_unix_duration());
        Some(Self { from, until })
    }

    /// How long it still lasts; zero if it is over.
    pub(crate) fn remaining(&self, now: SystemTime) -> Duration {
        self.until.duration_since(now).unwrap_or_default()
    }

    /// Whether only a third of it is left, so that the next certificate should be here.
    pub(crate) fn is_ending(&self, now: SystemTime) -> bool {
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        self.remaining(now) < whole / 3
    }

    fn contains(&self, now: SystemTime) -> bool {
        self.from <= now && now <= self.until
    }
}

/// A certificate with its key, and whom it is used with. What is here was tried: other nodes with the same settings accept it.
#[derive(Clone)]
pub(crate) struct Certificates {
    pub(super) certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    /// By the authorities alone, not by their names.
    diallers: Arc<dyn ClientCertVerifier>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    names: AllowedNames,
    pub(super) cluster: String,
    /// When the certificate, or one that it depends on, may be used.
    pub(crate) validity: Validity,
    clock: Arc<dyn Clock>,
    /// Ends when other authorities are trusted: what was accepted under these may not go on.
    pub(super) retired: CancellationToken,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("validity", &self.validity).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files, and tries what is in them.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or other nodes would not accept the certificate.
    pub(crate) fn load(
        settings: CertificateSettings<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, CertificateFileError> {
        let read = Self::read(settings, clock)?;
        read.check()?;
        Ok(read)
    }

    /// What is in the files, whatever others may say of it.
    pub(super) fn read(
        settings: CertificateSettings<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, CertificateFileError> {
        let chain = certificates(settings.cert)?;
        let key = private_key(settings.key)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(settings.ca)? {
            roots.add(authority).map_err(|error| not_pem(settings.ca, CERTIFICATE, &error))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(provider::default_provider()));
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateFileError::OtherKey,
            error => not_pem(settings.key, KEY, &error),
        })?;
        let algorithms = provider.signature_verification_algorithms;
        let diallers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .expect("there is an authority, and no list of revoked certificates");
        let validity = Validity::of_chain(&certified.cert)
            .ok_or_else(|| not_pem(settings.cert, CERTIFICATE, &"it is malformed"))?;
        Ok(Self {
            certified: Arc::new(certified),
            roots,
            diallers,
            algorithms,
            names: AllowedNames::new(settings.names),
            cluster: settings.cluster.to_owned(),
            validity,
            clock: clock.clone(),
            retired: CancellationToken::new(),
        })
    }

    /// How long it may still be used.
    pub(crate) fn remaining(&self) -> Duration {
        self.validity.remaining(self.now())
    }

    /// The time of this node's clock.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.wall_ms())
    }

    /// Whether both have the same certificate and trust the same authorities.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.trusts_all_of(other) && other.trusts_all_of(self)
    }

    /// Whether every authority of `before` is one of these.
    pub(super) fn trusts_all_of(&self, before: &Self) -> bool {
        before.roots.roots.iter().all(|authority| self.roots.roots.contains(authority))
    }

    /// What was accepted by `before` goes on.
    pub(super) fn going_on_from(self, before: &Self) -> Self {
        Self { retired: before.retired.clone(), ..self }
    }

    /// What another node with the same settings would say of this one, as the one that dials and as the one that listens.
    fn check(&self) -> Result<(), CertificateFileError> {
        let (now, Validity { from, until }) = (self.now(), self.validity);
        if !self.validity.contains(now) {
            return Err(CertificateFileError::NotValidNow { from, until });
        }
        let refused = |reason: String| CertificateFileError::Refused { reason };
        let [first, others @ ..] = self.certified.cert.as_slice() else { return Err(refused("there is none".into())) };
        let now = unix_time(now);
        let verify = |end| self.verify(first, others, end, now).map_err(|error| refused(explained(&error)));
        verify(End::Dialler).and_then(|()| verify(End::Listener))
    }

    /// Verifies a certificate of the other side: an authority has signed it, it is valid, and a name of it is allowed.
    pub(super) fn verify(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match end {
            End::Dialler => {
                self.diallers.verify_client_cert(first, others, now)?;
            }
            End::Listener => {
                let parsed = rustls::server::ParsedCertificate::try_from(first)?;
                let all = self.algorithms.all;
                rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, now, all)?;
            }
        }
        let not_allowed = |names| CertificateError::Other(OtherError(Arc::new(names)));
        self.names.check(first).map_err(|names| rustls::Error::InvalidCertificate(not_allowed(names)))
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// For TLS.
impl TimeProvider for Certificates {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.now()))
    }
}

/// What a verifier means, in the words of the settings.
fn explained(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(CertificateError::Other(names)) => {
            format!("{names}, and `tls_names` allows none of them")
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no authority in `tls_ca` has signed it, nor the certificates behind it in `tls_cert`".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => "it is not for both ends of a connection: its extended key usage must have serverAuth and clientAuth, or \
              be left out"
            .to_owned(),
        error => error.to_string(),
    }
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

fn not_pem(file: &Path, what: &'static str, reason: &dyn fmt::Display) -> CertificateFileError {
    CertificateFileError::NotPem { file: file.to_owned(), what, reason: format!(": {reason}") }
}

/// All certificates of a file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFileError> {
    let text = read(file, open(file)?)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(file, CERTIFICATE, &error))?;
    match found.is_empty() {
        true => Err(CertificateFileError::NotPem { file: file.to_owned(), what: CERTIFICATE, reason: String::new() }),
        false => Ok(found),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, CertificateFileError> {
    let opened = open(file)?;
    if let Some(mode) = opened.mode_of_others() {
        return Err(CertificateFileError::Exposed { file: file.to_owned(), mode });
    }
    let text = read(file, opened)?;
    // No error of the parser: it could show a part of the key.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| CertificateFileError::NotPem {
        file: file.to_owned(),
        what: KEY,
        reason: " (PKCS #8, PKCS #1 or SEC 1, not encrypted)".to_owned(),
    })
}

fn open(file: &Path) -> Result<PrivateFile, CertificateFileError> {
    PrivateFile::open(file).map_err(|reason| unreadable(file, reason))
}

fn read(file: &Path, opened: PrivateFile) -> Result<Zeroizing<Vec<u8>>, CertificateFileError> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB");
    opened.read(BYTES_MAX).and_then(|read| read.ok_or_else(too_large)).map_err(|reason| unreadable(file, reason))
}

fn unreadable(file: &Path, reason: io::Error) -> CertificateFileError {
    CertificateFileError::Unreadable { file: file.to_owned(), reason }
}

#[cfg(all(test, unix))]
mod tests;
