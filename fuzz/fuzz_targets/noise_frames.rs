#![no_main]
//! See `skydht_fuzz::noise_frames`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::noise_frames(data));
