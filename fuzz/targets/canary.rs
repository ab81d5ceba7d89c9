//! See `resptap_fuzz::canary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::canary::run(data));
