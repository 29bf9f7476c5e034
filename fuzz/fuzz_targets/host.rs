#![no_main]
//! See `skydht_fuzz::host`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::host(data));
