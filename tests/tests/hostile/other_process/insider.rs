//! Somebody who has a cluster secret and a TLS library, and has read docs/security.md: this does not use the program's own code.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sessionmesh::network::{ByteStream, Network as _, TokioNetwork};
use tokio_rustls::TlsConnector;

const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A dialler with one key.
pub(crate) struct Insider {
    connector: TlsConnector,
}

impl Insider {
    /// Has this secret of this cluster.
    pub(crate) fn new(secret: &[u8], cluster: &str) -> Self {
        Self::presenting(secret, secret, cluster)
    }

    /// Has overheard the name of this secret, which travels in clear, and has another one.
    pub(crate) fn who_overheard_the_name_of(secret: &[u8], cluster: &str) -> Self {
        Self::presenting(secret, &[7; 32], cluster)
    }

    fn presenting(named: &[u8], own: &[u8], cluster: &str) -> Self {
        let seed: [u8; 32] = derived(own, b"links: Ed25519 seed", cluster);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has 32 bytes");
        let private = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &seed].concat());
        let signing = provider::sign::any_eddsa_type(&private).expect("a seed makes a key");
        let public = CertificateDer::from([&SPKI_PREFIX[..], pair.public_key().as_ref()].concat());
        let key = Presented(Arc::new(CertifiedKey::new(vec![public], signing)));
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("the suites are of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_client_cert_resolver(Arc::new(key));
        let id: String = key_id(named, cluster).iter().map(|byte| format!("{byte:02x}")).collect();
        config.alpn_protocols = vec![format!("sessionmesh/1 {id}").into_bytes()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Self { connector: TlsConnector::from(Arc::new(config)) }
    }

    /// A link to this node, on which both sides have said all that TLS asks for.
    pub(crate) async fn dial(&self, to: SocketAddr) -> io::Result<Box<dyn ByteStream>> {
        let name = ServerName::try_from("sessionmesh").expect("it is a name");
        let stream = TokioNetwork.connect(to).await?;
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

/// How datagrams and diallers name a secret in clear.
pub(crate) fn key_id(secret: &[u8], cluster: &str) -> [u8; 8] {
    derived(secret, b"key id", cluster)
}

fn derived<const N: usize>(secret: &[u8], label: &[u8], cluster: &str) -> [u8; N] {
    let prk: Prk = Salt::new(HKDF_SHA256, b"sessionmesh 1").extract(secret);
    let mut key = [0; N];
    let info = [label, cluster.as_bytes()];
    prk.expand(&info, Length(N)).and_then(|output| output.fill(&mut key)).expect("a key is short");
    key
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Presents its key whatever it is asked for.
#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any node for the right one.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
