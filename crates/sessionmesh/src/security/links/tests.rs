use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::security::secret::Secret;

fn ring(secrets: &[&Secret]) -> KeyRing {
    let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
    KeyRing::new(&secrets, "shop").unwrap()
}

pub(super) fn links(secrets: &[&Secret]) -> Links {
    Links::with_keys(&ring(secrets), false)
}

fn pair() -> (Box<DuplexStream>, Box<DuplexStream>) {
    let (one, other) = duplex(64 << 10);
    (Box::new(one), Box::new(other))
}

pub(super) async fn meet(dialler: &Links, listener: &Links) -> (io::Result<Secured>, io::Result<Secured>) {
    let (one, other) = pair();
    let both = async { tokio::join!(dialler.dial(one, false), listener.accept(other)) };
    timeout(Duration::from_secs(10), both).await.expect("a handshake ends")
}

/// Whether each side hears the other.
pub(super) async fn talks(dialled: &mut Secured, accepted: &mut Secured) -> bool {
    let mut heard = [0; 4];
    dialled.stream.write_all(b"ping").await.unwrap();
    dialled.stream.flush().await.unwrap();
    accepted.stream.read_exact(&mut heard).await.unwrap();
    accepted.stream.write_all(&heard).await.unwrap();
    accepted.stream.flush().await.unwrap();
    dialled.stream.read_exact(&mut heard).await.unwrap();
    heard == *b"ping"
}

#[tokio::test]
async fn nodes_with_any_secret_in_common_understand_each_other_at_every_step_of_a_rotation() {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let steps = [vec![&old], vec![&old, &new], vec![&new, &old], vec![&new]];
    for one in &steps {
        for other in &steps {
            let share = one.iter().any(|secret| other.contains(secret));
            let (dialled, accepted) = meet(&links(one), &links(other)).await;
            if share {
                let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
                assert!(talks(&mut dialled, &mut accepted).await);
            } else {
                for refused in [dialled.err().unwrap(), accepted.err().unwrap()] {
                    assert_eq!(refusal(&refused), Some(Refusal::NoSharedSecret), "{refused}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_taken_out_secret_proved_ends_and_nothing_new_is_proved_with_it() {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let both = ring(&[&new, &old]);
    let listener = Links::with_keys(&both, false);
    let (dialled, accepted) = meet(&links(&[&old]), &listener).await;
    let (_dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    let (_, stays) = meet(&links(&[&new]), &listener).await;
    assert!(!accepted.proof.is_void());
    let next = both.joined_by(&ring(&[&new]));
    listener.replace_keys(&next);
    both.retire_all_but(&next);
    assert!(accepted.proof.is_void() && !stays.unwrap().proof.is_void());
    let (_, refused) = meet(&links(&[&old]), &listener).await;
    assert_eq!(refusal(&refused.err().unwrap()), Some(Refusal::NoSharedSecret));
}

#[tokio::test]
async fn a_name_of_a_secret_that_was_overheard_opens_nothing() {
    let [secret, others] = [Secret::generate(), Secret::generate()];
    // Somebody who knows the public names, but not the secret.
    let forged = |name_of: &Secret| {
        let mut configs = TlsConfigs::of_keys(&ring(&[&others]));
        let named = TlsConfigs::of_keys(&ring(&[name_of]));
        let mut client = (*configs.client).clone();
        client.alpn_protocols.clone_from(&named.client.alpn_protocols);
        configs.client = Arc::new(client);
        Links::with(configs, false, UNPROVEN_BYTES_MAX)
    };
    let (dialled, accepted) = meet(&forged(&secret), &links(&[&secret])).await;
    assert_eq!(refusal(&dialled.err().unwrap()), Some(Refusal::NotProven));
    assert_eq!(refusal(&accepted.err().unwrap()), Some(Refusal::ProofNotTaken), "the dialler says so");
}

#[tokio::test]
async fn a_dialler_that_takes_every_key_of_the_listener_has_still_to_prove_its_own() {
    let [secret, others] = [Secret::generate(), Secret::generate()];
    let (true_configs, other_configs) =
        (TlsConfigs::of_keys(&ring(&[&secret])), TlsConfigs::of_keys(&ring(&[&others])));
    let hint = rustls::DistinguishedName::in_sequence(&ring(&[&others]).keys()[0].id.0);
    for presents in [false, true] {
        let mut client = (*true_configs.client).clone();
        let resolver = other_configs.client.client_auth_cert_resolver.clone();
        client.client_auth_cert_resolver =
            if presents { Arc::new(Always(resolver, hint.clone())) } else { Arc::new(Nothing { raw: true }) };
        let mut configs = true_configs.clone();
        configs.client = Arc::new(client);
        let dialler = Links::with(configs, false, UNPROVEN_BYTES_MAX);
        let (_, accepted) = meet(&dialler, &links(&[&secret])).await;
        assert_eq!(refusal(&accepted.err().unwrap()), Some(Refusal::NotProven), "presents another key: {presents}");
    }
}

/// A dialler without a key of its own.
#[derive(Debug)]
pub(super) struct Nothing {
    /// Whether it has no raw key, or no certificate.
    pub(super) raw: bool,
}

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// A dialler that presents its key whatever it is asked for.
#[derive(Debug)]
struct Always(Arc<dyn rustls::client::ResolvesClientCert>, rustls::DistinguishedName);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], schemes: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.resolve(&[self.1.as_ref()], schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn plaintext_is_told_from_tls_and_taken_only_where_that_is_allowed() {
    let secret = Secret::generate();
    let hello = [&120u32.to_le_bytes()[..], &[0; 121]].concat();
    for plain_too in [false, true] {
        let listener = Links::with_keys(&ring(&[&secret]), plain_too);
        let (mut one, other) = pair();
        one.write_all(&hello).await.unwrap();
        match listener.accept(other).await {
            Ok(mut accepted) => {
                let mut read = vec![0; hello.len()];
                accepted.stream.read_exact(&mut read).await.unwrap();
                assert!(plain_too && read == hello, "what was looked at is read again");
            }
            Err(error) => assert!(!plain_too && refusal(&error) == Some(Refusal::NotEncrypted), "{error}"),
        }
        let (dialled, accepted) = meet(&links(&[&secret]), &listener).await;
        assert!(talks(&mut dialled.unwrap(), &mut accepted.unwrap()).await);
    }
    // The reverse: TLS meets a node that knows only plaintext.
    let (dialled, accepted) = meet(&links(&[&secret]), &Links::in_clear()).await;
    assert_eq!(refusal(&accepted.err().unwrap()), Some(Refusal::Encrypted));
    assert!(dialled.is_err());
    let (mut one, other) = pair();
    one.write_all(&hello).await.unwrap();
    let (mut accepted, mut read) = (Links::in_clear().accept(other).await.unwrap(), vec![0; hello.len()]);
    accepted.stream.read_exact(&mut read).await.unwrap();
    assert!(read == hello);
}

#[tokio::test]
async fn what_begins_like_tls_and_is_none_counts_as_a_handshake_that_proves_nothing() {
    let listener = links(&[&Secret::generate()]);
    for (length, body) in [(600_u16, vec![0x5a; 600]), (u16::MAX, vec![1; 600])] {
        let (mut one, other) = pair();
        one.write_all(&[&[0x16, 3, 1][..], &length.to_be_bytes(), &body].concat()).await.unwrap();
        let accepted = timeout(Duration::from_secs(10), listener.accept(other)).await.expect("it is refused at once");
        assert_eq!(refusal(&accepted.err().unwrap()), Some(Refusal::NotProven));
    }
}

#[tokio::test]
async fn a_dialler_tells_its_own_refusals_from_those_of_the_other_side() {
    let [secret, others] = [Secret::generate(), Secret::generate()];
    let (dialled, _) = meet(&links(&[&secret]), &links(&[&others])).await;
    let error = dialled.err().unwrap();
    assert_eq!((refusal(&error), own_refusal(&error)), (Some(Refusal::NoSharedSecret), None), "{error}");
    let (one, mut other) = pair();
    other.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = links(&[&secret]).dial(one, false).await.err().unwrap();
    assert_eq!(own_refusal(&error), Some(Refusal::NotEncrypted), "{error}");
}

#[tokio::test]
async fn a_record_of_somebody_else_ends_a_proven_link_as_altered_and_an_end_does_not() {
    let secret = Secret::generate();
    let record = [&[0x17, 3, 3, 0, 40][..], &[7; 40]].concat();
    for injected in [&record[..], &[0x41; 45], &[]] {
        let (dialler, near) = duplex(64 << 10);
        let (far, listener) = duplex(64 << 10);
        let ([dialling, listening], stop) = ([links(&[&secret]), links(&[&secret])], CancellationToken::new());
        let between = async {
            let (mut near, mut far) = (near, far);
            stop.run_until_cancelled(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
            far.write_all(injected).await.unwrap();
        };
        let node = async {
            let (dialled, accepted) =
                tokio::join!(dialling.dial(Box::new(dialler), false), listening.accept(Box::new(listener)));
            let (_dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
            stop.cancel();
            accepted.stream.read_u8().await.unwrap_err()
        };
        let both = async { tokio::join!(between, node) };
        let ((), error) = timeout(Duration::from_secs(10), both).await.expect("it ends");
        assert_eq!(is_altered(&error), !injected.is_empty(), "{injected:?}: {error}");
    }
}

#[tokio::test]
async fn a_handshake_without_an_end_is_cut() {
    let listener = links(&[&Secret::generate()]);
    let (mut one, other) = pair();
    // A record that promises 16 KiB of a first message of that size.
    let promise = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    let sending = async {
        one.write_all(&promise).await?;
        one.write_all(&[7; 32 << 10]).await
    };
    let (_, accepted) = tokio::join!(sending, listener.accept(other));
    let error = accepted.err().unwrap();
    assert_eq!(refusal(&error), Some(Refusal::TooLong), "{error}");
}

#[tokio::test]
async fn after_the_handshake_any_amount_passes() {
    let secret = Secret::generate();
    let (dialled, accepted) = meet(&links(&[&secret]), &links(&[&secret])).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    let sent: Vec<u8> = (0..300_000u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        dialled.stream.write_all(&sent).await.unwrap();
        dialled.stream.flush().await.unwrap();
        dialled
    });
    let mut read = vec![0; expected.len()];
    accepted.stream.read_exact(&mut read).await.unwrap();
    assert!(read == expected);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_link_outlives_its_keys() {
    let secret = Secret::generate();
    let short_lived = |records| {
        let configs = crate::security::tls::tests::with_short_lived_keys(&ring(&[&secret]), records);
        Links::with(configs, false, UNPROVEN_BYTES_MAX)
    };
    let (dialled, accepted) = meet(&short_lived(10), &short_lived(10)).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    for _ in 0..1_000 {
        assert!(talks(&mut dialled, &mut accepted).await);
    }
}

/// Passes on what a dialler and a listener say to each other, the byte at this place of what one of them says changed. What the
/// listener's side got to read in the end, if anything; and all that the two said.
async fn through_a_middleman(links: &Links, from_dialler: bool, at: usize) -> (Option<Vec<u8>>, [Vec<u8>; 2]) {
    let (dialler, near) = duplex(64 << 10);
    let (far, listener) = duplex(64 << 10);
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let outward = async {
        let said = pass(&mut near_read, &mut far_write, from_dialler.then_some(at)).await;
        let _ = far_write.shutdown().await;
        said
    };
    let inward = async {
        let said = pass(&mut far_read, &mut near_write, (!from_dialler).then_some(at)).await;
        let _ = near_write.shutdown().await;
        said
    };
    let dial = async {
        let mut dialled = links.dial(Box::new(dialler), false).await.ok()?;
        dialled.stream.write_all(b"a message of the protocol").await.ok()?;
        dialled.stream.shutdown().await.ok()
    };
    let accept = async {
        let mut accepted = links.accept(Box::new(listener)).await.ok()?;
        let mut read = Vec::new();
        let _ = accepted.stream.read_to_end(&mut read).await;
        (!read.is_empty()).then_some(read)
    };
    let all = async { tokio::join!(outward, inward, dial, accept) };
    // A side that waits for more than comes is cut off by the deadline of the handshake.
    let all = timeout(Duration::from_secs(10), all).await;
    all.map_or((None, Default::default()), |(dialler, listener, _, read)| (read, [dialler, listener]))
}

/// Passes on bytes until there are no more, with the one at this place changed. All of them, as they came.
async fn pass(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    change_at: Option<usize>,
) -> Vec<u8> {
    let (mut passed, mut buffer) = (Vec::new(), [0; 4_096]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut part = buffer[..length].to_vec();
        let here = change_at.and_then(|at| at.checked_sub(passed.len())).filter(|here| *here < length);
        passed.extend_from_slice(&part);
        if let Some(here) = here {
            part[here] ^= 0x10;
        }
        if to.write_all(&part).await.is_err() {
            break;
        }
    }
    passed
}

#[tokio::test(start_paused = true)]
async fn one_byte_changed_anywhere_in_a_handshake_or_a_message_lets_nothing_else_through() {
    let links = links(&[&Secret::generate()]);
    let (read, said) = through_a_middleman(&links, true, usize::MAX).await;
    assert_eq!(read.as_deref(), Some(&b"a message of the protocol"[..]));
    let mut harmless = 0;
    for (from_dialler, said) in [true, false].into_iter().zip(said) {
        assert!(said.len() > 300, "a whole handshake");
        for at in 0..said.len() {
            if let Some(read) = through_a_middleman(&links, from_dialler, at).await.0 {
                assert_eq!(read, b"a message of the protocol", "byte {at}");
                harmless += 1;
            }
        }
    }
    // TLS 1.3 ignores the version in the header of a record, an empty record for old middleboxes, and what follows the end.
    assert!(harmless < 20, "{harmless} bytes can be changed without being noticed");
}

#[tokio::test]
async fn a_recorded_handshake_that_is_sent_again_opens_nothing() {
    let links = links(&[&Secret::generate()]);
    let (_, said) = through_a_middleman(&links, true, usize::MAX).await;
    let (mut one, other) = pair();
    let sending = async {
        let _ = one.write_all(&said[0]).await;
        let mut answer = Vec::new();
        let _ = one.read_to_end(&mut answer).await;
    };
    let accepting = async { links.accept(other).await.err().expect("it is refused") };
    let both = async { tokio::join!(sending, accepting) };
    let ((), error) = timeout(Duration::from_secs(10), both).await.expect("it ends");
    assert_eq!(refusal(&error), Some(Refusal::NotProven), "{error}");
}
