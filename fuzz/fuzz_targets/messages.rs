#![no_main]
//! See `skydht_fuzz::messages`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::messages(data));
