//! The list of mutants is kept with the code: each of them can still be made.

use std::path::Path;

use sessionmesh_simulations::mutants::{list, tree};

#[test]
fn every_mutant_still_fits_the_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutants = list::read(&here.join("mutants")).expect("the lists can be read");
    let engine = mutants.iter().filter(|mutant| mutant.area.is_engine()).count();
    assert_eq!((mutants.len(), engine), (79, 56), "the score is told of so many");
    for list::Mutant { entry, .. } in &mutants {
        let name = &entry.name;
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || "-".contains(letter)), "{name}");
        assert!(entry.harm.ends_with('.') && entry.text != entry.instead, "{name}");
    }
    let changed = tree::changed(here.parent().expect("it is in the repository"), &mutants).expect("all can be made");
    for list::Mutant { number, entry, .. } in &mutants {
        let condition = format!("mutant::is({number})");
        assert!(changed[&entry.file].contains(&condition), "{}", entry.name);
    }
}
