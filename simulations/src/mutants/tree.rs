//! The source with all mutants in it: a copy, for the original is never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::list::{CONDITION, Mutant};

/// The variable that tells a program with mutants which one to make, by its number. Without it none is made.
pub const CHOICE: &str = "SESSIONMESH_MUTANT";

/// What is copied, from the root of the repository.
const COPIED: [&str; 6] = ["Cargo.toml", "Cargo.lock", "clippy.toml", "crates", "tests", "simulations"];
/// What is not, wherever it lies.
const LEFT_OUT: [&str; 3] = ["target", "node_modules", ".git"];

/// The module that knows which mutant is made. It costs an atomic load each time it is asked.
const CHOOSER: &str = r#"//! Which mutant is made: see simulations/mutants.
#![allow(missing_docs)]

use std::sync::OnceLock;

static CHOSEN: OnceLock<usize> = OnceLock::new();

#[inline]
#[must_use]
pub fn is(number: usize) -> bool {
    *CHOSEN.get_or_init(|| std::env::var("SESSIONMESH_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}
"#;

/// Makes the changes that lie beside the mutants themselves: the module, and how each crate gets at it. The program has
/// another name, so that the one without mutants stays where it is.
const BESIDE: [(&str, &str, &str); 4] = [
    ("crates/sessionmesh-core/src/lib.rs", "pub mod moment;", "pub mod moment;\npub mod mutant;"),
    (
        "crates/sessionmesh/src/lib.rs",
        "pub mod record_store;",
        "pub mod record_store;\n#[doc(hidden)]\npub use sessionmesh_core::mutant;",
    ),
    ("simulations/Cargo.toml", "[package]\n", "[package]\nautobins = false\n"),
    ("simulations/Cargo.toml", "[lib]\n", "[[bin]]\nname = \"sessionmesh-mutants\"\npath = \"src/main.rs\"\n\n[lib]\n"),
];

/// Where the module is put.
const CHOOSER_AT: &str = "crates/sessionmesh-core/src/mutant.rs";

/// The changed files, by their paths from `root`: all mutants are in them, none of which is made before it is chosen.
///
/// # Errors
///
/// A mutant whose text is not there exactly once, or that overlaps with another one.
pub fn changed(root: &Path, mutants: &[Mutant]) -> Result<BTreeMap<String, String>, String> {
    let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        by_file.entry(&mutant.entry.file).or_default().push(mutant);
    }
    let read =
        |file: &str| fs::read_to_string(root.join(file)).map_err(|error| format!("{file} cannot be read: {error}"));
    let mut files = BTreeMap::new();
    for (file, mutants) in by_file {
        files.insert(file.to_owned(), with_mutants(file, &read(file)?, &mutants)?);
    }
    for (file, text, instead) in BESIDE {
        let before = files.remove(file).map_or_else(|| read(file), Ok)?;
        if before.matches(text).count() != 1 {
            return Err(format!("{file} has {text:?} not exactly once"));
        }
        files.insert(file.to_owned(), before.replacen(text, instead, 1));
    }
    files.insert(CHOOSER_AT.to_owned(), CHOOSER.to_owned());
    Ok(files)
}

fn with_mutants(file: &str, source: &str, mutants: &[&Mutant]) -> Result<String, String> {
    let mut places: Vec<(usize, &Mutant)> = Vec::new();
    for mutant in mutants {
        let text = mutant.entry.text.as_str();
        let found: Vec<usize> = source.match_indices(text).map(|(at, _)| at).collect();
        match found[..] {
            [at] => places.push((at, mutant)),
            _ => return Err(format!("mutant {}: its text is {} times in {file}", mutant.entry.name, found.len())),
        }
    }
    places.sort_unstable_by_key(|(at, _)| *at);
    let (mut changed, mut copied) = (String::with_capacity(source.len() * 2), 0);
    for (at, mutant) in places {
        if at < copied {
            return Err(format!("mutant {}: another one is in its text in {file}", mutant.entry.name));
        }
        changed += &source[copied..at];
        changed += &chosen(mutant);
        copied = at + mutant.entry.text.len();
    }
    changed += &source[copied..];
    Ok(changed)
}

/// The text of one mutant, with the choice whether it is made.
fn chosen(mutant: &Mutant) -> String {
    let (text, instead) = (&mutant.entry.text, &mutant.entry.instead);
    let module = match mutant.entry.file.split('/').nth(1) {
        Some("sessionmesh-core") => "crate",
        Some("sessionmesh") => "sessionmesh_core",
        _ => "sessionmesh",
    };
    let condition = format!("{module}::mutant::is({})", mutant.number);
    if instead.contains(CONDITION) {
        instead.replace(CONDITION, &condition)
    } else {
        format!("(if {condition} {{ {instead} }} else {{ {text} }})")
    }
}

/// Makes `to` a copy of what is built of the repository at `root`, with the `changed` files in it. What is as it must be is
/// not written again, so that the compiler need not look at it again.
///
/// # Errors
///
/// A file that can be neither read nor written.
pub fn write(root: &Path, to: &Path, changed: &BTreeMap<String, String>) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for copied in COPIED {
        collect(root, Path::new(copied), &mut files).map_err(|error| format!("{copied} cannot be read: {error}"))?;
    }
    files.extend(changed.keys().map(PathBuf::from));
    for file in &files {
        let failed = |error: io::Error| format!("{} cannot be copied: {error}", file.display());
        let text = file.to_str().and_then(|file| changed.get(file));
        let wanted = text.map_or_else(|| fs::read(root.join(file)), |text| Ok(text.clone().into_bytes()));
        put(&to.join(file), &wanted.map_err(failed)?).map_err(failed)?;
    }
    let mut there = BTreeSet::new();
    collect(to, Path::new(""), &mut there).map_err(|error| format!("the copy cannot be read: {error}"))?;
    for file in there.difference(&files) {
        fs::remove_file(to.join(file)).map_err(|error| format!("{} cannot be removed: {error}", file.display()))?;
    }
    Ok(())
}

fn put(path: &Path, wanted: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, wanted)
}

/// All files at or below `at`.
fn collect(root: &Path, at: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let path = root.join(at);
    if !path.is_dir() {
        files.insert(at.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
            collect(root, &at.join(name), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::list::{Area, By, Entry};
    use super::*;

    fn mutant(number: usize, text: &str, instead: &str) -> Mutant {
        let [name, harm, file, text, instead] =
            [&number.to_string(), "", "crates/sessionmesh/src/a.rs", text, instead].map(ToOwned::to_owned);
        Mutant { number, area: Area::Engine, entry: Entry { name, harm, file, text, instead, by: By::Unknown } }
    }

    fn source(source: &str, mutants: &[Mutant]) -> Result<String, String> {
        with_mutants("a.rs", source, &mutants.iter().collect::<Vec<_>>())
    }

    #[test]
    fn an_expression_is_chosen_and_a_statement_gets_its_condition() {
        let mutants = [mutant(1, "send();", "if !MUTANT { send(); }"), mutant(2, "a < b", "a <= b")];
        let changed = source("let is = a < b; send();", &mutants);
        let expected = "let is = (if sessionmesh_core::mutant::is(2) { a <= b } else { a < b }); \
                        if !sessionmesh_core::mutant::is(1) { send(); }";
        assert_eq!(changed.as_deref(), Ok(expected));
    }

    #[test]
    fn a_text_that_is_gone_or_is_there_twice_or_is_in_another_one_is_refused_by_its_name() {
        for (text, mutants, what) in [
            ("x", vec![mutant(7, "y", "z")], "mutant 7: its text is 0 times"),
            ("y y", vec![mutant(7, "y", "z")], "mutant 7: its text is 2 times"),
            ("x y", vec![mutant(1, "x y", "z"), mutant(7, "y", "z")], "mutant 7: another one is in its text"),
        ] {
            assert!(source(text, &mutants).is_err_and(|why| why.starts_with(what)), "{what}");
        }
    }

    #[test]
    fn a_copy_follows_the_source_and_keeps_what_is_as_it_must_be() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().expect("there is room"));
        for file in ["Cargo.toml", "Cargo.lock", "clippy.toml"] {
            fs::write(from.path().join(file), file).expect("there is room");
        }
        for folder in ["crates/target", "tests", "simulations"] {
            fs::create_dir_all(from.path().join(folder)).expect("there is room");
        }
        for file in ["crates/a.rs", "crates/target/built", "tests/b.rs"] {
            fs::write(from.path().join(file), file).expect("there is room");
        }
        let changed = BTreeMap::from([("crates/a.rs".to_owned(), "changed".to_owned())]);
        write(from.path(), to.path(), &changed).expect("it is copied");
        let read = |file: &str| fs::read_to_string(to.path().join(file)).ok();
        assert_eq!([read("crates/a.rs"), read("tests/b.rs")], [Some("changed".into()), Some("tests/b.rs".into())]);
        assert_eq!(read("crates/target/built"), None);
        let written =
            |file: &str| fs::metadata(to.path().join(file)).and_then(|it| it.modified()).expect("it is there");
        let before = written("crates/a.rs");
        fs::remove_file(from.path().join("tests/b.rs")).expect("it is there");
        write(from.path(), to.path(), &changed).expect("it is copied");
        assert_eq!((written("crates/a.rs"), read("tests/b.rs")), (before, None));
    }
}
