//! Certificates of a PKI (X.509) on both sides.
//!
//! Each side checks that an authority in its `tls_ca` has signed the other's certificate, that this is valid now, and that one
//! of its names is allowed. Nobody compares the name with an address: any node may be anywhere.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use tokio::time::Instant;

use super::{Proof, Proves, TlsConfigs, protocol};
use crate::security::certificates::{Certificates, Validity};

/// For nodes of this cluster with certificates.
pub(super) fn configs(certificates: &Certificates, crypto: &Arc<CryptoProvider>) -> TlsConfigs {
    let accepted = Arc::new(Accepted {
        by_authority: certificates.client_verifier(),
        certificates: certificates.clone(),
        algorithms: crypto.signature_verification_algorithms,
    });
    let presented = Arc::new(SingleCertAndKey::from(certificates.certified.clone()));
    // So nodes of two clusters with one authority do not understand each other, and no stranger is told the name.
    let cluster = digest(&SHA256, certificates.cluster.as_bytes());
    let hexadecimal: String = cluster.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let protocols = vec![protocol(&format!("cluster {hexadecimal}"))];
    let configs = TlsConfigs::new(crypto, &accepted, &presented, protocols, accepted.clone());
    configs.by_the_clock_of(Arc::new(certificates.clone()))
}

/// What this node accepts.
#[derive(Debug)]
struct Accepted {
    certificates: Certificates,
    by_authority: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Accepted {
    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let allowed = self.certificates.names.check(certificate);
        allowed.map_err(|names| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(names)))))
    }
}

impl Proves for Accepted {
    fn proof(&self, presented: &[CertificateDer<'_>]) -> Proof {
        let remaining = Validity::of_chain(presented).map(|validity| self.certificates.remaining(&validity));
        // What lasts longer than clocks count lasts.
        let expires = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        Proof::until(self.certificates.retired.clone(), expires)
    }
}

/// What the two traits of verifiers both ask for.
macro_rules! signatures_by_certificates {
    () => {
        /// No node speaks TLS 1.2.
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Accepted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.certificates.verify_listener(end_entity, intermediates, now)?;
        self.check_name(end_entity).map(|()| ServerCertVerified::assertion())
    }

    signatures_by_certificates!();
}

impl ClientCertVerifier for Accepted {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// Nothing: strangers need not know which authorities are trusted.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.by_authority.verify_client_cert(end_entity, intermediates, now)?;
        self.check_name(end_entity).map(|()| verified)
    }

    signatures_by_certificates!();
}
