#![no_main]
//! See `skydht_fuzz::dmsg_objects`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::dmsg_objects(data));
