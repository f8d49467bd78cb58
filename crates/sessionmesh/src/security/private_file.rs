//! Files with secrets or keys, opened once: what is judged is what is read, even if the file is replaced meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// An open file of limited size.
pub(super) struct PrivateFile {
    file: File,
    metadata: Metadata,
}

impl PrivateFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self { file, metadata })
    }

    /// Its permissions, if other users of this machine can do anything with it.
    #[cfg(unix)]
    pub(super) fn mode_of_others(&self) -> Option<u32> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = self.metadata.permissions().mode() & 0o777;
        (mode & 0o007 != 0).then_some(mode)
    }

    /// Elsewhere permissions are not numbers.
    #[cfg(not(unix))]
    pub(super) fn mode_of_others(&self) -> Option<u32> {
        None
    }

    /// What is in it, or nothing if that is more than `max` bytes.
    pub(super) fn read(self, max: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        // Never moved while it grows: that would leave copies behind.
        let room = usize::try_from(self.metadata.len().min(max)).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
        self.file.take(max + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= max).then_some(bytes))
    }
}
