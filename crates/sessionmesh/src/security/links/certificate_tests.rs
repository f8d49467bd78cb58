//! Links by certificates: who is accepted, and what each side says to whom it is not.

use std::time::Duration;

use sessionmesh_testkit::authority::{self, Authority, Files, LISTENERS_ONLY, Wanted};

use super::tests::{Nothing, links, meet, talks};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::security::certificates::CertificateSettings;
use crate::security::secret::Secret;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A node of the cluster `shop` with a certificate that `signer` has signed; it accepts those that `ca` (PEM) vouches for, with
/// a name that is `allowed`.
fn certificates(signer: &Authority, wanted: &Wanted<'_>, ca: &str, allowed: &str) -> Certificates {
    of_cluster("shop", signer, wanted, ca, allowed)
}

fn of_cluster(cluster: &str, signer: &Authority, wanted: &Wanted<'_>, ca: &str, allowed: &str) -> Certificates {
    let files = Files::new(&signer.sign(wanted), ca);
    let (cert, key, ca, names) = (files.cert(), files.key(), files.ca(), [allowed.to_owned()]);
    let settings = CertificateSettings { cert: &cert, key: &key, ca: &ca, names: &names, cluster };
    Certificates::read(settings, &(Arc::new(SystemClock) as Arc<dyn Clock>)).unwrap()
}

fn with(certificates: &Certificates) -> Links {
    Links::with_certificates(certificates, false)
}

/// What each side makes of the other: the one that dials first. It hears of the other's refusal at its first read only.
async fn outcomes(dialler: &Links, listener: &Links) -> [Option<Refusal>; 2] {
    let (dialled, accepted) = meet(dialler, listener).await;
    let of_accepted = accepted.err().map(|error| refusal(&error).unwrap_or_else(|| panic!("{error}")));
    let of_dialled = match dialled {
        Err(error) => refusal(&error),
        Ok(mut dialled) => {
            use tokio::io::AsyncReadExt as _;
            let read = tokio::time::timeout(Duration::from_millis(200), dialled.stream.read_u8()).await;
            let ended = read.ok().and_then(Result::err).map(|error| explained(error, Refusal::NotProven));
            ended.as_ref().and_then(refusal)
        }
    };
    [of_dialled, of_accepted]
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_and_allowed_names_understand_each_other() {
    let root = Authority::new("root");
    let one = with(&certificates(&root, &Wanted::good(&["web-1.shop"]), root.pem(), "*.shop"));
    let other = with(&certificates(&root, &Wanted::good(&["spiffe://x/y", "WEB-2.shop"]), root.pem(), "web-1.shop"));
    let (dialled, accepted) = meet(&one, &other).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    assert!(talks(&mut dialled, &mut accepted).await);
    assert!(!dialled.proof.is_void() && !accepted.proof.is_void());
}

#[tokio::test]
async fn whoever_is_not_accepted_is_counted_by_its_reason_on_both_sides() {
    use Refusal::{CertificateNotValidNow, NameNotAllowed, NotProven, OtherCluster, ProofNotTaken};
    let (root, foreign, now) = (Authority::new("root"), Authority::new("foreign"), authority::now());
    let good = || Wanted::good(&["web-1.shop"]);
    let honest = with(&certificates(&root, &good(), root.pem(), "*.shop"));
    // It takes any certificate of both authorities.
    let both = format!("{}{}", root.pem(), foreign.pem());
    let presenting = |signer: &Authority, wanted: &Wanted<'_>| with(&certificates(signer, wanted, &both, "*"));
    let expired = Wanted { from: now - 3 * HOUR, until: now - HOUR, ..good() };
    let early = Wanted { from: now + HOUR, ..good() };
    for (what, dialler, here, there) in [
        ("another name", presenting(&root, &Wanted::good(&["web-1.bank"])), ProofNotTaken, NameNotAllowed),
        ("another authority", presenting(&foreign, &good()), ProofNotTaken, NotProven),
        ("expired", presenting(&root, &expired), ProofNotTaken, CertificateNotValidNow),
        ("not valid yet", presenting(&root, &early), ProofNotTaken, CertificateNotValidNow),
        (
            "for listeners only",
            presenting(&root, &Wanted { usages: LISTENERS_ONLY, ..good() }),
            ProofNotTaken,
            NotProven,
        ),
        ("the secret", links(&[&Secret::generate()]), OtherCluster, OtherCluster),
        (
            "another cluster",
            with(&of_cluster("bank", &root, &good(), root.pem(), "*.shop")),
            OtherCluster,
            OtherCluster,
        ),
    ] {
        assert_eq!(outcomes(&dialler, &honest).await, [Some(here), Some(there)], "{what}, dialling");
        let as_listener = match what {
            "for listeners only" => None,
            "the secret" => Some(Refusal::NoSharedSecret),
            _ => Some(there),
        };
        assert_eq!(outcomes(&honest, &dialler).await[0], as_listener, "{what}, listening");
    }
    // Its own certificate is good; it does not accept the other one.
    let choosy = with(&certificates(&root, &good(), foreign.pem(), "*.shop"));
    assert_eq!(outcomes(&choosy, &honest).await, [Some(NotProven), Some(ProofNotTaken)]);
}

#[tokio::test]
async fn a_dialler_without_a_certificate_or_with_somebody_elses_proves_nothing() {
    let (root, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let good = certificates(&root, &Wanted::good(&["web-1.shop"]), root.pem(), "*.shop");
    let stranger = certificates(&foreign, &Wanted::good(&["web-1.shop"]), root.pem(), "*.shop");
    // It overheard the certificate of a node, and has another key.
    let mut pretends = good.clone();
    let stolen = rustls::sign::CertifiedKey::new(good.certified.cert.clone(), stranger.certified.key.clone());
    pretends.certified = Arc::new(stolen);
    assert_eq!(outcomes(&with(&pretends), &with(&good)).await[1], Some(Refusal::NotProven));
    let mut configs = TlsConfigs::of_certificates(&good);
    let mut client = (*configs.client).clone();
    client.client_auth_cert_resolver = Arc::new(Nothing { raw: false });
    configs.client = Arc::new(client);
    let dialler = Links::with(configs, false, UNPROVEN_BYTES_MAX_OF_CERTIFICATES);
    assert_eq!(outcomes(&dialler, &with(&good)).await[1], Some(Refusal::NotProven));
}

#[tokio::test]
async fn what_an_authority_vouched_for_ends_with_it_and_with_the_certificate() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let security = |certificates| crate::security::Security::new("shop", &[], Some(certificates), false);
    let name = || Wanted::good(&["web-1.shop"]);
    let both = format!("{}{}", old.pem(), new.pem());
    let node = security(certificates(&old, &name(), old.pem(), "*.shop"));
    let of_new = with(&certificates(&new, &name(), &both, "*.shop"));
    let of_old = with(&certificates(&old, &name(), &both, "*.shop"));
    let accepted = async |dialler: &Links| meet(dialler, &node.links).await.1.unwrap().proof;
    let first = accepted(&of_old).await;
    assert!(node.replace_certificates(certificates(&old, &name(), &both, "*.shop")));
    let (second, third) = (accepted(&of_old).await, accepted(&of_new).await);
    assert!(![&first, &second, &third].into_iter().any(Proof::is_void), "more are trusted");
    assert!(node.replace_certificates(certificates(&new, &name(), new.pem(), "*.shop")));
    assert!([&first, &second, &third].into_iter().all(Proof::is_void), "one is trusted no more");
    assert_eq!(outcomes(&of_old, &node.links).await[1], Some(Refusal::NotProven));
    let same = certificates(&new, &name(), new.pem(), "*.shop");
    assert!(node.replace_certificates(same.clone()) && !node.replace_certificates(same), "nothing changes");

    let soon = authority::now() + Duration::from_secs(2);
    let short = with(&certificates(&new, &Wanted { until: soon, ..name() }, new.pem(), "*.shop"));
    let proof = accepted(&short).await;
    tokio::time::pause();
    tokio::time::timeout(Duration::from_secs(3), proof.voided()).await.expect("it expires");
    assert!(proof.is_void() && !accepted(&of_new).await.is_void());
}
