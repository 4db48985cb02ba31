//! See `tributary_tests::fuzz::intake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::intake(data));
