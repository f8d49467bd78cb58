//! Connections between nodes, before a byte of the protocol is decoded: in clear, or proven and encrypted.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::Refusal;
use super::certificates::Certificates;
use super::certificates::names::NameNotAllowed;
use super::key_ring::KeyRing;
use super::opening::Opening;
use super::proof::Proof;
use super::tls::TlsConfigs;
use crate::network::ByteStream;

/// What the other side of a connection may send before it has proved that it belongs to the cluster, in bytes. An honest
/// node sends about 700.
const UNPROVEN_BYTES_MAX: usize = 4_096;
/// The same where certificates prove it, which may be several, with long keys.
const UNPROVEN_BYTES_MAX_OF_CERTIFICATES: usize = 16_384;
/// Nobody looks at the name: what counts is the key.
const NAME: &str = "sessionmesh";

/// How connections are protected.
#[derive(Debug)]
pub(crate) struct Links {
    /// None: not at all.
    tls: Option<ArcSwap<TlsConfigs>>,
    /// Whether connections in clear are taken beside those by TLS, and dialled where TLS is not understood.
    plain_too: bool,
    unproven_bytes_max: usize,
}

/// A connection on which the protocol may be spoken.
pub(crate) struct Secured {
    pub(crate) stream: Box<dyn ByteStream>,
    pub(crate) proof: Proof,
}

impl Links {
    /// In clear. For loopback and networks in which every machine is trusted.
    pub(crate) const fn in_clear() -> Self {
        Self { tls: None, plain_too: true, unproven_bytes_max: UNPROVEN_BYTES_MAX }
    }

    /// With these keys. `plain_too`: beside nodes that have none.
    pub(crate) fn with_keys(ring: &KeyRing, plain_too: bool) -> Self {
        Self::with(TlsConfigs::of_keys(ring), plain_too, UNPROVEN_BYTES_MAX)
    }

    /// With these certificates. `plain_too`: beside nodes that have none.
    pub(crate) fn with_certificates(certificates: &Certificates, plain_too: bool) -> Self {
        Self::with(TlsConfigs::of_certificates(certificates), plain_too, UNPROVEN_BYTES_MAX_OF_CERTIFICATES)
    }

    fn with(tls: TlsConfigs, plain_too: bool, unproven_bytes_max: usize) -> Self {
        Self { tls: Some(ArcSwap::from_pointee(tls)), plain_too, unproven_bytes_max }
    }

    /// Uses these keys for all connections from now on. Those that rely on keys that are not among them end by their tokens.
    pub(crate) fn replace_keys(&self, ring: &KeyRing) {
        self.replace(TlsConfigs::of_keys(ring));
    }

    /// Uses these certificates for all connections from now on.
    pub(crate) fn replace_certificates(&self, certificates: &Certificates) {
        self.replace(TlsConfigs::of_certificates(certificates));
    }

    fn replace(&self, configs: TlsConfigs) {
        if let Some(tls) = &self.tls {
            tls.store(Arc::new(configs));
        }
    }

    /// Whether a connection is to be dialled anew, in clear, if the other side does not take TLS.
    pub(crate) const fn dials_plain_too(&self) -> bool {
        self.tls.is_some() && self.plain_too
    }

    /// On a connection that this node has opened: proves to the other side that this node belongs to the cluster, and has it
    /// prove the same.
    ///
    /// # Errors
    ///
    /// The other side does not belong to the cluster (a [`Refusal`] inside), or the connection broke.
    pub(crate) async fn dial(&self, stream: Box<dyn ByteStream>, in_clear: bool) -> io::Result<Secured> {
        let Some(tls) = self.tls.as_ref().filter(|_| !in_clear) else {
            return Ok(unprotected(stream));
        };
        let tls = tls.load_full();
        let opening = Opening::new(stream, self.unproven_bytes_max);
        let name = ServerName::try_from(NAME).expect("it is a name");
        let connecting = TlsConnector::from(tls.client.clone()).connect(name, opening);
        let stream = connecting.await.map_err(|error| match error.kind() {
            // So ends a node that takes the first bytes of TLS for a message of an impossible length.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                io::Error::new(io::ErrorKind::InvalidData, Refusal::NotEncrypted)
            }
            // Nobody who knows TLS sends what is none.
            _ => explained(error, Refusal::NotEncrypted),
        })?;
        Ok(proven(stream.into(), &tls))
    }

    /// The same on a connection that this node has accepted.
    ///
    /// # Errors
    ///
    /// As [`Links::dial`].
    pub(crate) async fn accept(&self, stream: Box<dyn ByteStream>) -> io::Result<Secured> {
        let mut opening = Opening::new(stream, self.unproven_bytes_max);
        let tls = match (&self.tls, opening.is_tls().await?) {
            (Some(tls), true) => tls.load_full(),
            (None, true) => return Err(io::Error::new(io::ErrorKind::InvalidData, Refusal::Encrypted)),
            (_, false) if self.plain_too => {
                opening.is_proven();
                return Ok(unprotected(Box::new(opening)));
            }
            (_, false) => return Err(io::Error::new(io::ErrorKind::InvalidData, Refusal::NotEncrypted)),
        };
        let accepting = TlsAcceptor::from(tls.server.clone()).accept(opening);
        let mut stream = accepting.await.map_err(|error| explained(error, Refusal::NotProven))?;
        // The dialler waits for nothing of TLS that would come with the first answer.
        stream.flush().await?;
        Ok(proven(stream.into(), &tls))
    }
}

/// Both sides have proved that they belong to the cluster.
fn proven(mut stream: TlsStream<Opening<Box<dyn ByteStream>>>, tls: &TlsConfigs) -> Secured {
    let (opening, session) = stream.get_mut();
    opening.is_proven();
    let proof = tls.proof(session.peer_certificates());
    Secured { stream: Box::new(stream), proof }
}

fn unprotected(stream: Box<dyn ByteStream>) -> Secured {
    Secured { stream, proof: Proof::default() }
}

/// Says what an error of TLS means, with its reason behind it. A dialler hears only at its first read that the listener did not
/// take its proof. `malformed` is what it means that something came that is no TLS.
pub(crate) fn explained(error: io::Error, malformed: Refusal) -> io::Error {
    let Some(reason) = of_tls(&error).cloned() else { return error };
    let refusal = match &reason {
        // The listener found no key of its own among those of the dialler, or says so.
        Error::General(_) | Error::AlertReceived(AlertDescription::AccessDenied) => Refusal::NoSharedSecret,
        Error::InvalidMessage(_) => malformed,
        Error::InvalidCertificate(CertificateError::Other(other)) if other.0.is::<NameNotAllowed>() => {
            Refusal::NameNotAllowed
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Refusal::CertificateNotValidNow,
        Error::PeerIncompatible(_)
        | Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Refusal::OtherCluster,
        // What the other side says of what this node presented.
        Error::AlertReceived(
            AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::BadCertificate,
        ) => Refusal::ProofNotTaken,
        _ => Refusal::NotProven,
    };
    io::Error::new(io::ErrorKind::InvalidData, Refused { refusal, reason })
}

/// Whether a link ended because something else came on it than the other node had sent.
pub(crate) fn is_altered(error: &io::Error) -> bool {
    of_tls(error).is_some_and(|reason| !matches!(reason, Error::AlertReceived(_)))
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
#[error("{refusal} (TLS: {reason})")]
struct Refused {
    #[source]
    refusal: Refusal,
    reason: Error,
}

/// Why this node refused a connection that it had opened, if it did: not because the other side refused it.
pub(crate) fn own_refusal(error: &io::Error) -> Option<Refusal> {
    let refused = error.get_ref()?.downcast_ref::<Refused>()?;
    (!matches!(refused.reason, Error::AlertReceived(_))).then_some(refused.refusal)
}

/// Why the security refused a connection, if it did.
pub(crate) fn refusal(error: &io::Error) -> Option<Refusal> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<Refusal>().or_else(|| inner.downcast_ref::<Refused>().map(|refused| &refused.refusal)).copied()
}

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod tests;
