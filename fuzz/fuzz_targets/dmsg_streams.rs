#![no_main]
//! See `skydht_fuzz::dmsg_streams`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::dmsg_streams(data));
