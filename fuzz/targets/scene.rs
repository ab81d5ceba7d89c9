//! See `resptap_fuzz::scene`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::scene::run(data));
