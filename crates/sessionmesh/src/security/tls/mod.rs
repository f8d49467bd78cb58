//! TLS 1.3 between nodes, in which both sides must prove that they belong to the cluster: by the cluster secret
//! ([`raw_keys`]), or by certificates ([`by_certificates`]). [`verifier`] asks either of them.

mod by_certificates;
mod raw_keys;
pub(super) mod verifier;

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as provider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use self::verifier::{Accepts, Verifier};
use super::certificates::Certificates;
use super::key_ring::KeyRing;
use super::proof::Proof;

/// How this node dials and how it listens.
#[derive(Clone, Debug)]
pub(super) struct TlsConfigs {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    accepts: Arc<dyn Accepts>,
}

impl TlsConfigs {
    /// For nodes that have one of these keys.
    pub(super) fn of_keys(ring: &KeyRing) -> Self {
        raw_keys::configs(ring, &Arc::new(crypto()))
    }

    /// For nodes that have certificates.
    pub(super) fn of_certificates(certificates: &Certificates) -> Self {
        by_certificates::configs(certificates, &Arc::new(crypto()))
    }

    fn new<P: ResolvesClientCert + ResolvesServerCert + 'static>(
        crypto: &Arc<CryptoProvider>,
        accepts: Arc<dyn Accepts>,
        presented: &Arc<P>,
        protocols: Vec<Vec<u8>>,
    ) -> Self {
        let verifier = Arc::new(Verifier(accepts.clone()));
        let mut client = ClientConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("the suites are of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(presented.clone());
        client.alpn_protocols.clone_from(&protocols);
        client.enable_sni = false;
        // What was resumed would not prove anew that it belongs to the cluster.
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("the suites are of TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(presented.clone());
        server.alpn_protocols = protocols;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Self { client: Arc::new(client), server: Arc::new(server), accepts }
    }

    /// Dates are compared with this clock.
    fn by_the_clock_of(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        Arc::make_mut(&mut self.client).time_provider = clock.clone();
        Arc::make_mut(&mut self.server).time_provider = clock;
        self
    }

    /// How long it counts that the other side presented this.
    pub(super) fn proof(&self, presented: Option<&[CertificateDer<'_>]>) -> Proof {
        self.accepts.proof(presented.unwrap_or_default())
    }
}

/// The application protocol (ALPN) of nodes that have this in common.
fn protocol(common: &str) -> Vec<u8> {
    [b"sessionmesh/1 ", common.as_bytes()].concat()
}

/// X25519, and two suites: the first is fast with the instructions of most processors, the second without them.
///
/// A connection may live for months: before a key has sealed as many records as its suite allows (about 2^24 for AES-GCM),
/// rustls agrees on a new one with the other side.
fn crypto() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![provider::kx_group::X25519],
        ..provider::default_provider()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::crypto::CipherSuiteCommon;
    use rustls::{SupportedCipherSuite, Tls13CipherSuite};

    use super::*;

    /// Of nodes whose keys may seal only so many records each.
    pub(in super::super) fn with_short_lived_keys(ring: &KeyRing, records: u64) -> TlsConfigs {
        let short_lived = |suite: SupportedCipherSuite| {
            let suite = suite.tls13().expect("they are of TLS 1.3");
            let common = CipherSuiteCommon { confidentiality_limit: records, ..suite.common };
            let suite = Tls13CipherSuite { common, ..*suite };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        };
        let mut crypto = crypto();
        crypto.cipher_suites = crypto.cipher_suites.into_iter().map(short_lived).collect();
        raw_keys::configs(ring, &Arc::new(crypto))
    }
}
