//! See `src/targets/cookies.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::cookies::TARGET.run(bytes);
});
