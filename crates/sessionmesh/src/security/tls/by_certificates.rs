//! Certificates of a PKI (X.509) on both sides.
//!
//! Each side checks that an authority in its `tls_ca` has signed the other's certificate, that this is valid now, and that one
//! of its names is allowed. Nobody compares the name with an address: any node may be anywhere.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::time::Instant;

use super::verifier::{Accepts, End};
use super::{Proof, TlsConfigs, protocol};
use crate::security::certificates::{Certificates, Validity};

/// For nodes of this cluster with certificates.
pub(super) fn configs(certificates: &Certificates, crypto: &Arc<CryptoProvider>) -> TlsConfigs {
    let presented = Arc::new(SingleCertAndKey::from(certificates.certified.clone()));
    // So nodes of two clusters with one authority do not understand each other, and no stranger is told the name.
    let cluster = digest(&SHA256, certificates.cluster.as_bytes());
    let hexadecimal: String = cluster.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let protocols = vec![protocol(&format!("cluster {hexadecimal}"))];
    let certificates = Arc::new(certificates.clone());
    TlsConfigs::new(crypto, certificates.clone(), &presented, protocols).by_the_clock_of(certificates)
}

impl Accepts for Certificates {
    fn check(
        &self,
        presented: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.verify(presented, more, end, now)
    }

    fn check_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, presented, signature, &self.algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn takes_raw_keys(&self) -> bool {
        false
    }

    /// Nothing: strangers need not know which authorities are trusted.
    fn hints(&self) -> &[DistinguishedName] {
        &[]
    }

    fn proof(&self, presented: &[CertificateDer<'_>]) -> Proof {
        let remaining = Validity::of_chain(presented).map(|validity| validity.remaining(self.now()));
        // What lasts longer than clocks count lasts.
        let expires = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        Proof::until(self.retired.clone(), expires)
    }
}
