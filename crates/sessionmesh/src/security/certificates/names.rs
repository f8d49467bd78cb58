//! Whose certificates are accepted: the names in them that are allowed.

use std::fmt;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The longest DNS name, in bytes (RFC 1035).
const DNS_BYTES_MAX: usize = 253;
/// The longest part of one.
const LABEL_BYTES_MAX: usize = 63;
/// The longest URI that a setting may have, in bytes.
const URI_BYTES_MAX: usize = 2_048;
/// So many names of a certificate are shown when none of them is allowed.
const SHOWN_MAX: usize = 4;

/// Whether `text` can be an entry of `tls_names`: `*`, a DNS name, such a name with `*.` in front, or a URI.
pub(crate) fn is_allowed_name(text: &str) -> bool {
    if text.contains("://") {
        let scheme = text.split("://").next().unwrap_or_default();
        let printable = text.len() <= URI_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        return !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && printable;
    }
    text == "*" || is_dns_name(text.strip_prefix("*.").unwrap_or(text))
}

fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= DNS_BYTES_MAX && text.split('.').all(is_label)
}

/// The names that are allowed.
#[derive(Clone, Debug)]
pub(crate) struct AllowedNames(Vec<String>);

impl AllowedNames {
    /// These; each as [`is_allowed_name`] takes it.
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.to_vec())
    }

    /// Whether a certificate may be used by a node. Its signature is checked elsewhere.
    ///
    /// # Errors
    ///
    /// It is malformed (no names then), or none of its names is allowed.
    pub(crate) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), NameNotAllowed> {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Err(NameNotAllowed(Vec::new())) };
        let names = || certificate.valid_dns_names().chain(certificate.valid_uri_names());
        if self.0.iter().any(|allowed| allowed == "*" || names().any(|name| matches(allowed, name))) {
            return Ok(());
        }
        Err(NameNotAllowed(names().take(SHOWN_MAX).map(str::to_owned).collect()))
    }
}

/// `*.` stands for one label, as in certificates (RFC 6125). DNS names are the same in either case, URIs are not.
fn matches(allowed: &str, name: &str) -> bool {
    if allowed.contains("://") {
        return allowed == name;
    }
    match allowed.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => allowed.eq_ignore_ascii_case(name),
    }
}

/// Why a certificate is not accepted: these are its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameNotAllowed(Vec<String>);

impl std::error::Error for NameNotAllowed {}

impl fmt::Display for NameNotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("it has no DNS name or URI as subject alternative name"),
            names => write!(f, "its names are {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_name_a_pattern_of_one_label_or_a_uri() {
        for good in ["web-1", "web-1.shop.example", "*.shop.example", "*", "spiffe://shop.example/web", "_a.b"] {
            assert!(is_allowed_name(good), "{good}");
        }
        let long = format!("{}.example", "x".repeat(64));
        for bad in ["", "*.", "a..b", "a b", "web-*.example", "*.*.example", "://x", "spiffe://a b", "a,b", &long] {
            assert!(!is_allowed_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_pattern_stands_for_one_label_and_uris_are_compared_as_they_are() {
        for (allowed, name, fits) in [
            ("web-1.shop.example", "WEB-1.shop.example", true),
            ("web-1.shop.example", "web-2.shop.example", false),
            ("*.shop.example", "web-1.shop.Example", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", "a.web-1.shop.example", false),
            ("*.shop.example", "web-1.evilshop.example", false),
            ("*.shop.example", "*.shop.example", true),
            ("spiffe://shop/web", "spiffe://shop/web", true),
            ("spiffe://shop/web", "spiffe://shop/WEB", false),
            ("spiffe://shop/web", "spiffe://shop/web/2", false),
            ("shop", "spiffe://shop", false),
        ] {
            assert_eq!(matches(allowed, name), fits, "{allowed} {name}");
        }
    }
}
