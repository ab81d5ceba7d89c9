//! See `resptap_fuzz::resp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::resp::run(data));
