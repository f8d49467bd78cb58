//! See `src/targets/datagrams.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::datagrams::TARGET.run(bytes);
});
