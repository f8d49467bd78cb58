//! See `src/targets/fragments.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::fragments::TARGET.run(bytes);
});
