//! Makes the randomness of libraries repeatable: hash maps of std, `rand::rng()` and whatever else asks the system.
//!
//! The symbol `getrandom` of the C library is replaced. A thread that was given a seed draws from it, all others get
//! the system's randomness. Generators are kept per thread by those who ask, so each run needs a fresh thread.

#![allow(unsafe_code, reason = "the one place that replaces a function of the C library")]

use std::cell::Cell;
use std::ffi::{c_uint, c_void};

thread_local! {
    /// The state of the generator; `None` on threads that were not given a seed. No destructor, so it can be read at
    /// any time of a thread's life.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread draws from `seed` whatever it asks of the system.
pub fn seed_this_thread(seed: u64) {
    STATE.set(Some(seed));
}

/// Replaces the C library's function of this name.
///
/// # Safety
///
/// As for the original: `buffer` points to `length` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut state) = STATE.get() else {
        // SAFETY: the arguments are passed on as they came.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    };
    // SAFETY: the caller says so.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        let word = split_mix(&mut state).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    STATE.set(Some(state));
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn hash_on_a_fresh_thread(seed: Option<u64>) -> u64 {
        let draw = move || {
            if let Some(seed) = seed {
                seed_this_thread(seed);
            }
            let _: HashMap<u8, u8> = HashMap::new();
            RandomState::new().hash_one(1)
        };
        std::thread::spawn(draw).join().expect("it does not panic")
    }

    #[test]
    fn a_seeded_thread_repeats_itself_and_others_do_not() {
        assert_eq!(hash_on_a_fresh_thread(Some(7)), hash_on_a_fresh_thread(Some(7)));
        assert_ne!(hash_on_a_fresh_thread(Some(7)), hash_on_a_fresh_thread(Some(8)));
        assert_ne!(hash_on_a_fresh_thread(None), hash_on_a_fresh_thread(None));
    }
}
