#![no_main]
//! See `skydht_fuzz::items_and_signatures`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::items_and_signatures(data));
