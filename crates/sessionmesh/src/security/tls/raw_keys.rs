//! Raw public keys (RFC 7250) that follow from the cluster secrets.
//!
//! Every node with a secret has the same Ed25519 key and proves that it has it; both sides must. The key ids of the dialler's
//! secrets travel as application protocols (ALPN) in its first message, and the listener presents the first key of its own
//! that is among them. It names the keys that it accepts as authorities, so the dialler can present one of those. So two
//! nodes understand each other if they share any secret, and neither needs a clock or a certificate.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring as provider;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::verifier::{Accepts, End};
use super::{Proof, TlsConfigs, protocol};
use crate::security::key_ring::{Key, KeyRing};

/// What an Ed25519 public key of 32 bytes has in front of it as a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What a seed of 32 bytes has in front of it as a PKCS #8 private key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// For nodes that have one of these keys.
pub(super) fn configs(ring: &KeyRing, crypto: &Arc<CryptoProvider>) -> TlsConfigs {
    let identities: Arc<[Identity]> = ring.keys().iter().map(Identity::new).collect();
    let accepted = Arc::new(Accepted {
        hints: identities.iter().map(|identity| identity.hint.clone()).collect(),
        identities: identities.clone(),
        algorithms: crypto.signature_verification_algorithms,
    });
    let protocols = identities.iter().map(|identity| identity.protocol.clone()).collect();
    let presented = Arc::new(Presented { identities: identities.clone() });
    TlsConfigs::new(crypto, accepted, &presented, protocols)
}

/// A key as TLS presents it.
#[derive(Debug)]
struct Identity {
    key: Arc<Key>,
    /// How a dialler names it.
    protocol: Vec<u8>,
    /// How a listener names it.
    hint: DistinguishedName,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    fn new(key: &Arc<Key>) -> Self {
        let (seed, public) = key.link_key();
        let private = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], seed].concat());
        let signing = provider::sign::any_eddsa_type(&private).expect("a seed makes a key");
        let spki = CertificateDer::from([&SPKI_PREFIX[..], public].concat());
        let protocol = protocol(&format!("{:?}", key.id));
        let hint = DistinguishedName::in_sequence(&key.id.0);
        Self { key: key.clone(), protocol, hint, certified: Arc::new(CertifiedKey::new(vec![spki], signing)) }
    }

    fn is(&self, spki: &CertificateDer<'_>) -> bool {
        self.certified.cert.first() == Some(spki)
    }
}

/// What this node presents.
#[derive(Debug)]
struct Presented {
    identities: Arc<[Identity]>,
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered: Vec<&[u8]> = hello.alpn()?.collect();
        let shared = self.identities.iter().find(|identity| offered.contains(&&*identity.protocol))?;
        Some(shared.certified.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let shared = self.identities.iter().find(|identity| hints.contains(&identity.hint.as_ref()))?;
        Some(shared.certified.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What this node accepts: the public keys of its own ring, and nothing else.
#[derive(Debug)]
struct Accepted {
    identities: Arc<[Identity]>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Accepts for Accepted {
    fn check(
        &self,
        presented: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _end: End,
        _now: UnixTime,
    ) -> Result<(), Error> {
        let known = self.identities.iter().any(|identity| identity.is(presented));
        if known && more.is_empty() { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) }
    }

    fn check_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(presented.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn takes_raw_keys(&self) -> bool {
        true
    }

    fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn proof(&self, presented: &[CertificateDer<'_>]) -> Proof {
        let identity = presented.first().and_then(|spki| self.identities.iter().find(|identity| identity.is(spki)));
        Proof::until_retired(identity.map(|identity| identity.key.retired.clone()))
    }
}
