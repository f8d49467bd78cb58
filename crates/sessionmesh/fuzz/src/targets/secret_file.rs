//! The text of a file of secrets, and the file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sessionmesh::Secret;
use sessionmesh::fuzzing::{secrets_in, secrets_in_file};

use crate::{Outcome, Target, memory};

/// What reads files of secrets: a file has what its text has, one secret a line; no output shows the text.
pub const TARGET: Target = Target { name: "secret_file", check, seeds };

const SECRETS_MAX: usize = 8;
const FILE_BYTES_MAX: usize = 64 << 10;

fn check(bytes: &[u8]) -> Outcome {
    let path = scratch();
    fs::write(path, bytes).expect("a temporary file can be written");
    let from_file = memory::within(4_096 + 4 * bytes.len(), || secrets_in_file(path));
    let Some(text) = str::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_BYTES_MAX) else {
        assert!(from_file.is_err(), "what is no text, or too long, has no secrets");
        return Outcome::Refused;
    };
    let from_text = secrets_in(text);
    match (&from_file, &from_text) {
        (Ok(from_file), Ok(from_text)) => assert_eq!(from_file, from_text),
        (Err(_), Ok(from_text)) => assert!(from_text.is_empty(), "a file with secrets is read"),
        (Ok(_), Err(_)) => panic!("a file has secrets that its text does not have"),
        (Err(_), Err(_)) => {}
    }
    let Ok(secrets) = from_text else { return Outcome::Refused };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!(
        secrets.len() <= SECRETS_MAX && secrets.iter().map(|secret| Ok(secret.clone())).eq(lines.map(Secret::parse))
    );
    Outcome::of(!secrets.is_empty())
}

/// A file of this process that nobody else can read. Each thread of it has one.
fn scratch() -> &'static Path {
    thread_local! {
        static FILE: OnceLock<&'static Path> = const { OnceLock::new() };
    }
    FILE.with(|file| {
        *file.get_or_init(|| {
            let name = format!("sessionmesh-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
            let path: &'static PathBuf = Box::leak(Box::new(std::env::temp_dir().join(name)));
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path).and_then(|mut file| file.write_all(b"")).expect("a temporary file can be made");
            path
        })
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let [one, two] = super::secret::texts();
    let commented = format!("# the new one\n{one}\n\n  {two}  \n");
    let crlf = format!("{two}\r\n{one}\r\n");
    let full = format!("{one}\n").repeat(SECRETS_MAX);
    let too_many = format!("{two}\n").repeat(SECRETS_MAX + 1);
    [one, commented, crlf, full, too_many].map(String::into_bytes).to_vec()
}
