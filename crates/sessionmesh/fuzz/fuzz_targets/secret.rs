//! See `src/targets/secret.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::secret::TARGET.run(bytes);
});
