use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sessionmesh_testkit::authority::{self, Authority, Files, LISTENERS_ONLY, Signed, Wanted};

use super::*;
use crate::clock::SystemClock;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn load_as(files: &Files, names: &[&str]) -> Result<Certificates, CertificateFileError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let (cert, key, ca) = (files.cert(), files.key(), files.ca());
    let settings = CertificateSettings { cert: &cert, key: &key, ca: &ca, names: &names, cluster: "shop" };
    Certificates::load(settings, &(Arc::new(SystemClock) as Arc<dyn Clock>))
}

/// What is wrong with it, where only the names of `shop` are allowed.
fn says(signed: &Signed, ca: &str) -> String {
    load_as(&Files::new(signed, ca), &["*.shop"]).expect_err("it cannot be used").to_string()
}

#[test]
fn what_other_nodes_would_refuse_is_refused_at_home_with_the_reason() {
    let (authority, other, now) = (Authority::new("one"), Authority::new("another"), authority::now());
    let good = || Wanted::good(&["web-1.shop"]);
    let signed = authority.sign(&good());
    load_as(&Files::new(&signed, authority.pem()), &["*.shop"]).unwrap();
    for (wanted, part) in [
        (Wanted { until: now - HOUR, from: now - 3 * HOUR, ..good() }, "is valid from"),
        (Wanted { from: now + HOUR, ..good() }, "is valid from"),
        (
            Wanted { names: &["web-1.bank", "spiffe://bank/web"], ..good() },
            "its names are web-1.bank, spiffe://bank/web",
        ),
        (Wanted { names: &[], ..good() }, "no DNS name"),
        (Wanted { usages: LISTENERS_ONLY, ..good() }, "clientAuth"),
    ] {
        let refused = says(&authority.sign(&wanted), authority.pem());
        assert!(refused.contains(part), "{refused}");
    }
    assert!(says(&signed, other.pem()).contains("no authority in `tls_ca` has signed it"));
    let others_key = Signed { key: authority.sign(&good()).key, ..signed.clone() };
    assert!(says(&others_key, authority.pem()).contains("is not the key"));
    let no_key = Signed { key: signed.cert.clone(), ..signed.clone() };
    assert!(says(&no_key, authority.pem()).contains("key.pem has no private key"));
    let garbage = |text: &str| Signed { cert: text.to_owned(), ..signed.clone() };
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        says(&garbage(text), authority.pem());
    }
    assert!(says(&signed, "").contains("ca.pem has no certificate"));
    assert!(says(&garbage(&"x".repeat(5 << 20)), authority.pem()).contains("4 MiB"));
}

#[test]
fn a_key_that_others_can_read_is_refused_and_no_error_shows_a_part_of_it() {
    let authority = Authority::new("one");
    let mut signed = authority.sign(&Wanted::good(&["web-1.shop"]));
    let files = Files::new(&signed, authority.pem());
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = load_as(&files, &["*.shop"]).unwrap_err().to_string();
    assert!(refused.contains("chmod o= ") && refused.contains("key.pem"), "{refused}");
    let secret = signed.key.lines().nth(1).unwrap().to_owned();
    signed.key = signed.key.replace(&secret, &format!("{secret}%"));
    let refused = says(&signed, authority.pem());
    assert!(!refused.contains(&secret[4..12]), "{refused}");
}

#[test]
fn certificates_between_it_and_the_authority_count_and_may_end_earlier() {
    let root = Authority::new("root");
    let between = root.intermediate("between");
    let alone = between.sign(&Wanted::good(&["web-1.shop"]));
    assert!(says(&alone, root.pem()).contains("no authority"));
    let with_chain = Signed { cert: format!("{}{}", alone.cert, between.pem()), ..alone };
    let loaded = load_as(&Files::new(&with_chain, root.pem()), &["spiffe://shop/a", "web-1.shop"]).unwrap();
    let now = authority::now();
    assert!(!loaded.validity.is_ending(now) && loaded.validity.is_ending(loaded.validity.until - HOUR));
    let remaining = loaded.validity.remaining(now);
    assert!(remaining > 23 * HOUR && remaining <= 24 * HOUR, "{remaining:?}");
    assert_eq!(loaded.validity.remaining(loaded.validity.until + HOUR), Duration::ZERO);
}
