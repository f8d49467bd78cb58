//! A file with the secrets, and changes of it.

use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

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
    #[error("it has {bytes} bytes; a file of secrets has one in each line")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// There is no secret in it.
    #[error("there is no secret in it; `sessionmesh keygen` makes one")]
    Empty,
    /// What is in it is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The secrets in a file: one a line, the one in use first.
pub(crate) fn read(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let metadata = fs::metadata(path).map_err(SecretFileError::Unreadable)?;
    if let Some(mode) = mode_of_others(&metadata) {
        return Err(SecretFileError::Exposed { mode });
    }
    if metadata.len() > BYTES_MAX {
        return Err(SecretFileError::TooLarge { bytes: metadata.len() });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(SecretFileError::Unreadable)?);
    let secrets = secret::read_lines(&text)?;
    if secrets.is_empty() { Err(SecretFileError::Empty) } else { Ok(secrets) }
}

/// The permissions of a file that other users of this machine can do anything with.
#[cfg(unix)]
pub(super) fn mode_of_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}

/// Elsewhere permissions are not numbers.
#[cfg(not(unix))]
pub(super) fn mode_of_others(_: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
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
        assert!(says(&"x".repeat(70_000)).contains("70000 bytes"));
        assert!(read(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("cannot read"));
    }
}
