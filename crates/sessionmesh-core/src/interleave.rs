//! Points at which a stress on several threads lets other threads go first.
//!
//! Between two steps that follow each other on one thread, any other thread may take as many as it likes. That happens seldom
//! by itself, so in a build with `--cfg sessionmesh_simulation` the library passes a [`point`] before each lock and at its rare
//! paths, and a stress that has called `provoke` has some of them wait there. Which points wait is drawn anew with each call:
//! a few that wait often find more than all that wait seldom. In every other build a point is nothing.

#[cfg(sessionmesh_simulation)]
pub use self::provoked::{point, provoke, seldom};

/// Other threads may go first here: not in this build.
#[cfg(not(sessionmesh_simulation))]
#[inline(always)]
pub const fn point() {}

/// The same, where seldom anybody passes: not in this build.
#[cfg(not(sessionmesh_simulation))]
#[inline(always)]
pub const fn seldom() {}

#[cfg(sessionmesh_simulation)]
mod provoked {
    use std::cell::Cell;
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    use std::panic::Location;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    /// What decides which points wait; 0 while none does.
    static SALT: AtomicU64 = AtomicU64::new(0);

    /// One of so many points waits often.
    const HOT_EVERY: u64 = 12;
    /// Of so many times, a point that waits often waits once, any other one, and one where seldom anybody passes.
    const HOT_WAITS_EVERY: u64 = 4;
    const WAITS_EVERY: u64 = 2_048;
    const SELDOM_WAITS_EVERY: u64 = 3;
    /// How long it waits at most, in microseconds, and of so many times once: what is long shows what is rare.
    const WAITS_US: [(u64, u64); 3] = [(1, 40), (4, 400), (16, 4_000)];
    /// The same where seldom anybody passes. Long enough for another task to do all of its work meanwhile.
    const SELDOM_WAITS_US: [(u64, u64); 3] = [(1, 400), (3, 4_000), (6, 30_000)];

    thread_local! {
        /// Not the randomness of the nodes: that stays as it is.
        static DICE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
    }

    /// Draws by `salt` which points wait from now on; 0 for none. It holds for the whole process.
    pub fn provoke(salt: u64) {
        SALT.store(salt, Ordering::Relaxed);
    }

    /// Other threads may go first here.
    #[inline]
    #[track_caller]
    pub fn point() {
        let salt = SALT.load(Ordering::Relaxed);
        if salt != 0 {
            let every = if is_hot(salt, Location::caller()) { HOT_WAITS_EVERY } else { WAITS_EVERY };
            wait(every, &WAITS_US);
        }
    }

    /// The same, where seldom anybody passes: it always waits often.
    #[inline]
    pub fn seldom() {
        if SALT.load(Ordering::Relaxed) != 0 {
            wait(SELDOM_WAITS_EVERY, &SELDOM_WAITS_US);
        }
    }

    fn is_hot(salt: u64, here: &'static Location<'static>) -> bool {
        let place = here.file().len() as u64 ^ (u64::from(here.line()) << 16) ^ (u64::from(here.column()) << 40);
        mix(place ^ salt) % HOT_EVERY == 0
    }

    #[cold]
    fn wait(every: u64, waits_us: &[(u64, u64)]) {
        // A thread that ends has no dice any more.
        let Ok(dice) = DICE.try_with(|dice| {
            dice.set(dice.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            mix(dice.get())
        }) else {
            return;
        };
        if dice % every != 0 {
            return;
        }
        let dice = mix(dice);
        let longest = waits_us.iter().rev().find(|(every, _)| dice % every == 0).map_or(0, |(_, us)| *us);
        match mix(dice) % longest.max(1) {
            0 => thread::yield_now(),
            us => thread::sleep(Duration::from_micros(us)),
        }
    }

    /// The last step of `SplitMix64`.
    const fn mix(word: u64) -> u64 {
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
