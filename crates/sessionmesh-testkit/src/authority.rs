//! Authorities that sign certificates of nodes, and the files in which nodes have them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    SanType,
};
use sessionmesh::{Clock as _, SystemClock};
use tempfile::TempDir;

/// How long certificates last if a test says nothing else.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate as a test wants it.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// DNS names, and URIs if they have a scheme.
    pub names: &'a [&'a str],
    /// Its first moment.
    pub from: SystemTime,
    /// Its last one.
    pub until: SystemTime,
    /// For listeners and for diallers.
    pub usages: &'a [ExtendedKeyUsagePurpose],
}

/// Both ends of a connection.
const BOTH: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
/// One of them.
pub const LISTENERS_ONLY: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];

impl<'a> Wanted<'a> {
    /// One for these names that is good.
    #[must_use]
    pub fn good(names: &'a [&'a str]) -> Self {
        let now = now();
        Self { names, from: now - LIFE / 24, until: now + LIFE, usages: BOTH }
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate, and those between it and the authority.
    pub cert: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// One that signs for itself.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = (Self::params(name), key());
        let pem = params.self_signed(&key).expect("it signs for itself").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// One that this authority has signed.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), key());
        let pem = params.signed_by(&key, &self.issuer).expect("it signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate for a new key.
    #[must_use]
    pub fn sign(&self, wanted: &Wanted<'_>) -> Signed {
        let (dns, uris): (Vec<&str>, Vec<&str>) = wanted.names.iter().copied().partition(|name| !name.contains("://"));
        let dns: Vec<String> = dns.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(dns).expect("the names of tests are good");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("it is ASCII")));
        }
        (params.not_before, params.not_after) = (wanted.from.into(), wanted.until.into());
        params.extended_key_usages = wanted.usages.to_vec();
        let key = key();
        let cert = params.signed_by(&key, &self.issuer).expect("it signs").pem();
        Signed { cert, key: key.serialize_pem() }
    }
}

/// The time, as nodes of this machine have it.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock.wall_ms())
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("the system has randomness")
}

/// The three files of a node. They are gone when this is dropped.
#[derive(Debug)]
pub struct Files(TempDir);

impl Files {
    /// With this in them.
    #[must_use]
    pub fn new(signed: &Signed, ca: &str) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder for files"));
        files.replace(signed, ca);
        files
    }

    /// Puts this in their place, each in one step, as an operator's tools do.
    pub fn replace(&self, signed: &Signed, ca: &str) {
        for (path, text) in [(self.cert(), &*signed.cert), (self.key(), &*signed.key), (self.ca(), ca)] {
            write(&path, text);
        }
    }

    /// The file of the certificate.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    /// The file of the key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// The file of the authorities.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file can be written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::rename(&new, path).expect("it takes the place of the old one");
}
