//! See `src/targets/config_env.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::config_env::TARGET.run(bytes);
});
