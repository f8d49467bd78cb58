//! See `src/targets/secret_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::secret_file::TARGET.run(bytes);
});
