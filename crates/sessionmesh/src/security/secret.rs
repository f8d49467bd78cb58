//! The cluster secret: what every node of a cluster knows, and nobody else.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize as _, Zeroizing};

/// The fewest bytes of a secret: as many as the keys that are derived from it have.
const BYTES_MIN: usize = 32;
/// The most bytes.
const BYTES_MAX: usize = 1_024;
/// Of 32 random bytes about 30 differ. Fewer than 20 different ones do not happen once in 10^11 secrets.
const DIFFERENT_BYTES_MIN: usize = 20;
/// Secrets that a node may have at the same time: one, and for a rotation a second one, or a few.
pub(crate) const SECRETS_MAX: usize = 8;

/// A cluster secret: 32 to 1,024 random bytes. `sessionmesh keygen` makes one.
///
/// It is wiped from memory when it is dropped, and neither `Debug` nor serialization shows it. (The text that it was read from
/// is its owner's: an environment variable stays where it is.)
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is no secret. It is not repeated here, so that it is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is neither hexadecimal nor base64.
    #[error("it is neither hexadecimal nor base64; `sessionmesh keygen` makes a good one")]
    Encoding,
    /// It is too short or too long.
    #[error("it has {bytes} bytes, a secret has {BYTES_MIN} to {BYTES_MAX}; `sessionmesh keygen` makes a good one")]
    Length {
        /// What it has, decoded.
        bytes: usize,
    },
    /// It was not drawn at random.
    #[error("it is not random, so it could be guessed; `sessionmesh keygen` makes a good one")]
    Weak,
    /// There are more than can be in use.
    #[error("there are {secrets} secrets; a node takes one, and a second one while they are changed, 8 at most")]
    TooMany {
        /// How many there are.
        secrets: usize,
    },
}

impl Secret {
    /// Reads a secret as base64 (either alphabet, padded or not) or hexadecimal.
    ///
    /// # Errors
    ///
    /// It is neither, of another length, or so regular that it cannot be random.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = Zeroizing::new(decode(text.trim())?);
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length { bytes: bytes.len() });
        }
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        let different = seen.iter().filter(|seen| **seen).count();
        // What consists of letters alone is a sentence, not a key.
        if different < DIFFERENT_BYTES_MIN || bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Err(SecretError::Weak);
        }
        Ok(Self(bytes))
    }

    /// A new secret of 32 bytes from `random`, a source that nobody can foresee.
    pub(crate) fn draw(random: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = Zeroizing::new(vec![0; BYTES_MIN]);
        random(&mut bytes);
        Self(bytes)
    }

    /// A new secret from the operating system.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness: nothing on such a machine can be secret.
    #[must_use]
    pub fn generate() -> Self {
        let random = ring::rand::SystemRandom::new();
        Self::draw(|bytes| {
            ring::rand::SecureRandom::fill(&random, bytes).expect("the operating system has randomness");
        })
    }

    /// The secret as text, in base64, for whoever stores it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*self.0))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// So that a builder takes one secret as it takes several.
impl From<Secret> for Vec<Secret> {
    fn from(secret: Secret) -> Self {
        vec![secret]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Reads the secrets of a file: one a line, the first one is the one in use. Empty lines, and those that begin with `#`, are
/// skipped.
pub(crate) fn read_lines(text: &str) -> Result<Vec<Secret>, SecretError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let secrets: Vec<Secret> = lines.map(Secret::parse).collect::<Result<_, _>>()?;
    check_number(secrets.len())?;
    Ok(secrets)
}

/// Refuses more secrets than a node takes.
pub(crate) fn check_number(secrets: usize) -> Result<(), SecretError> {
    if secrets > SECRETS_MAX { Err(SecretError::TooMany { secrets }) } else { Ok(()) }
}

/// 64 hexadecimal digits or more are a secret in hexadecimal: as base64 they would be one that nobody draws.
fn decode(text: &str) -> Result<Vec<u8>, SecretError> {
    if text.len() >= BYTES_MIN * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return hex(text).ok_or(SecretError::Encoding);
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, config).decode(text).map_err(|_| SecretError::Encoding)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for pair in digits.chunks(2) {
        let text = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
        let Some(byte) = text.and_then(|pair| u8::from_str_radix(pair, 16).ok()) else {
            bytes.zeroize();
            return None;
        };
        bytes.push(byte);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from((at * 37 + 130) % 256).unwrap()).collect()
    }

    #[test]
    fn a_secret_is_read_in_hexadecimal_and_in_every_usual_base64() {
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
        for bytes in [counted(32), counted(33), counted(64)] {
            let secret = Secret(Zeroizing::new(bytes.clone()));
            let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for text in [
                STANDARD.encode(&bytes),
                STANDARD_NO_PAD.encode(&bytes),
                URL_SAFE.encode(&bytes),
                URL_SAFE_NO_PAD.encode(&bytes),
                hexadecimal.to_uppercase(),
                format!(" {hexadecimal}\n"),
            ] {
                assert_eq!(Secret::parse(&text), Ok(secret.clone()));
            }
        }
    }

    #[test]
    fn what_can_be_guessed_is_refused_and_says_how_to_make_a_good_one() {
        let of = |bytes: &[u8]| Secret::parse(&base64::engine::general_purpose::STANDARD.encode(bytes));
        assert_eq!(of(&counted(31)), Err(SecretError::Length { bytes: 31 }));
        assert_eq!(of(&counted(1_025)), Err(SecretError::Length { bytes: 1_025 }));
        assert_eq!(of(&[0; 32]), Err(SecretError::Weak));
        assert_eq!(of(&counted(16).repeat(3)), Err(SecretError::Weak));
        assert_eq!(of(b"Correct horse: battery staple, 4!"), Err(SecretError::Weak), "a sentence");
        assert_eq!(Secret::parse("change me"), Err(SecretError::Encoding));
        assert_eq!(Secret::parse(&"0".repeat(65)), Err(SecretError::Encoding), "half a byte");
        for refused in [SecretError::Encoding, SecretError::Weak, SecretError::Length { bytes: 1 }] {
            assert!(refused.to_string().contains("sessionmesh keygen"), "{refused}");
        }
    }

    #[test]
    fn a_generated_secret_is_read_again_and_is_never_the_same() {
        let secrets: Vec<Secret> = (0..100).map(|_| Secret::generate()).collect();
        for secret in &secrets {
            assert_eq!(Secret::parse(&secret.to_text()).as_ref(), Ok(secret));
            assert_eq!(secrets.iter().filter(|other| *other == secret).count(), 1);
        }
    }

    #[test]
    fn a_file_has_one_secret_a_line() {
        let [one, two] = [Secret::generate(), Secret::generate()];
        let text = format!("# the new one\n{}\n\n  {}  \n", *two.to_text(), *one.to_text());
        assert_eq!(read_lines(&text), Ok(vec![two, one.clone()]));
        assert_eq!(read_lines("# none yet\n"), Ok(Vec::new()));
        let many = format!("{}\n", *one.to_text()).repeat(9);
        assert_eq!(read_lines(&many), Err(SecretError::TooMany { secrets: 9 }));
    }

    #[test]
    fn no_output_shows_a_secret() {
        let secret = Secret::generate();
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }
}
