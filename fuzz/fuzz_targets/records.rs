#![no_main]
//! See `skydht_fuzz::records`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::records(data));
