//! What a node accepts of the other side of a connection, in the two forms that TLS asks for.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::security::proof::Proof;

/// Which end of a connection the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::security) enum End {
    Dialler,
    Listener,
}

/// Decides who belongs to the cluster.
pub(in crate::security) trait Accepts: fmt::Debug + Send + Sync {
    /// Whether who has the key of what is presented belongs to the cluster.
    fn check(
        &self,
        presented: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<(), Error>;

    /// Whether the other side has that key.
    fn check_signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error>;

    /// How it may be signed.
    fn schemes(&self) -> Vec<SignatureScheme>;

    /// Whether raw public keys are presented, and no certificates.
    fn takes_raw_keys(&self) -> bool;

    /// What diallers are told of whom this node accepts.
    fn hints(&self) -> &[DistinguishedName];

    /// How long it counts what the other side has presented, and proved to be its own.
    fn proof(&self, presented: &[CertificateDer<'_>]) -> Proof;
}

/// Asks [`Accepts`] on behalf of TLS.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<dyn Accepts>);

/// What the two traits of TLS both ask for.
macro_rules! signatures {
    () => {
        /// No node speaks TLS 1.2.
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _presented: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            presented: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.check_signature(message, presented, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            self.0.takes_raw_keys()
        }
    };
}

impl ServerCertVerifier for Verifier {
    /// Nobody compares the name: any node may be anywhere.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.check(end_entity, intermediates, End::Listener, now).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.check(end_entity, intermediates, End::Dialler, now).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
