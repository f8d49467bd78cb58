//! See `src/targets/beacon.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::beacon::TARGET.run(bytes);
});
