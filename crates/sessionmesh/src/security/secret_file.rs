//! A file with the secrets, and changes of it.

use std::io;
use std::path::Path;

use super::private_file::PrivateFile;
use super::secret::{self, Secret, SecretError};

/// Far more than eight secrets and their comments take.
const BYTES_MAX: u64 = 64 << 10;

/// Why a file gives no secret. The secrets in use stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(io::Error),
    /// Other users of this machine can read it.
    #[error("others on this machine can read it (mode {mode:03o}): take that away, with `chmod o= FILE`")]
    Exposed {
        /// Its permissions.
        mode: u32,
    },
    /// It is no file of secrets.
    #[error("it has more than {} KiB; a file of secrets has one in each line", BYTES_MAX >> 10)]
    TooLarge,
    /// There is no secret in it.
    #[error("there is no secret in it; `sessionmesh keygen` makes one")]
    Empty,
    /// What is in it is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The secrets in a file: one a line, the one in use first.
pub(crate) fn read(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let file = PrivateFile::open(path).map_err(SecretFileError::Unreadable)?;
    if let Some(mode) = file.mode_of_others() {
        return Err(SecretFileError::Exposed { mode });
    }
    let bytes = file.read(BYTES_MAX).map_err(SecretFileError::Unreadable)?.ok_or(SecretFileError::TooLarge)?;
    let not_text = |_| SecretFileError::Unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not text"));
    let secrets = secret::read_lines(std::str::from_utf8(&bytes).map_err(not_text)?)?;
    if secrets.is_empty() { Err(SecretFileError::Empty) } else { Ok(secrets) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        fs::write(file.path(), text).expect("it can be written");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        file
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_says_how_to_mend_it() {
        let secret = Secret::generate();
        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert_eq!(read(file(&secret.to_text(), mode).path()).unwrap(), std::slice::from_ref(&secret));
        }
        for mode in [0o644, 0o604, 0o602, 0o601] {
            let refused = read(file(&secret.to_text(), mode).path()).unwrap_err().to_string();
            assert!(refused.contains("chmod") && refused.contains(&format!("{mode:03o}")), "{refused}");
        }
    }

    #[test]
    fn each_fault_of_a_file_has_its_words_and_none_shows_what_is_in_it() {
        let says = |text: &str| read(file(text, 0o600).path()).unwrap_err().to_string();
        assert!(says("# nothing\n").contains("keygen"));
        assert!(says("swordfish").contains("keygen") && !says("swordfish").contains("swordfish"));
        assert!(says(&"x".repeat(70_000)).contains("64 KiB"));
        assert!(read(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("cannot read"));
    }
}
