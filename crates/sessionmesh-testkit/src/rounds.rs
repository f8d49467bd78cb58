//! How often a test of rare events plays its scene.

/// `usually`, or the number in the environment variable `MESHTEST_ROUNDS`: a hunt for what is rare takes more rounds than
/// each run of all tests can.
///
/// # Panics
///
/// When the variable is no number.
#[must_use]
pub fn rounds(usually: usize) -> usize {
    match std::env::var("MESHTEST_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("MESHTEST_ROUNDS is a number of rounds"),
        Err(_) => usually,
    }
}
