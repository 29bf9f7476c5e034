#![no_main]
//! See `skydht_fuzz::journals`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::journals(data));
