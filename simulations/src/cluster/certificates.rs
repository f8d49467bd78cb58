//! The certificate of all simulated nodes, in files as nodes want them. It is the same in each run: runs repeat.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use sessionmesh::MeshBuilder;
use tempfile::TempDir;

/// Valid from the year 2000 to 2100, for `node.simulation`.
const CERT: &str = include_str!("../../certificates/node.pem");
const KEY: &str = include_str!("../../certificates/node-key.pem");
const CA: &str = include_str!("../../certificates/authority.pem");

/// Gone when it is dropped.
pub(super) struct CertificateFiles(TempDir);

impl CertificateFiles {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for files");
        for (name, text) in [("cert", CERT), ("ca", CA)] {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        // Nobody else may read it, or nodes refuse it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.path().join("key"));
        file.and_then(|mut file| file.write_all(KEY.as_bytes())).expect("a file can be written");
        Self(folder)
    }

    /// Has a node use them.
    pub(super) fn give(&self, builder: MeshBuilder) -> MeshBuilder {
        let file = |name| Some(self.0.path().join(name));
        let builder = builder.tls_cert(file("cert")).tls_key(file("key")).tls_ca(file("ca"));
        builder.tls_names(vec!["node.simulation".to_owned()])
    }
}
