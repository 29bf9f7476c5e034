#![no_main]
//! See `skydht_fuzz::services`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::services(data));
