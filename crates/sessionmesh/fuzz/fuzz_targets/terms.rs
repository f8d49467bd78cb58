//! See `src/targets/terms.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::terms::TARGET.run(bytes);
});
