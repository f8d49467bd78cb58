//! `sessionmesh keygen`: makes a cluster secret.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use sessionmesh::Secret;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Write it to this new file, which only you can read, instead of stdout
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

const WHERE_TO: &str = "Give it to every node of the cluster: as `secret`, in SESSIONMESH_SECRET, or in a file that \
                        `secret_file` names. Nobody else may have it.";

/// Makes one and writes it.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let secret = Secret::generate();
    let Some(path) = &args.file else {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", *secret.to_text()).and_then(|()| out.flush());
        if out.is_terminal() {
            anstream::eprintln!("{WHERE_TO}");
        }
        return written.map_err(|error| Failure::Failed(Some(format!("cannot write the secret: {error}"))));
    };
    write_new(path, &secret).map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists { "; it was not changed" } else { "" };
        Failure::Failed(Some(format!("cannot write {}: {error}{hint}", path.display())))
    })?;
    anstream::eprintln!("wrote {}. {WHERE_TO}", path.display());
    Ok(())
}

fn write_new(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", *secret.to_text())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_that_nobody_else_can_read_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        run(&KeygenArgs { file: Some(path.clone()) }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        Secret::parse(&text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(matches!(run(&KeygenArgs { file: Some(path.clone()) }), Err(Failure::Failed(Some(_)))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
