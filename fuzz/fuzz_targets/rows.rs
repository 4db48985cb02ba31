//! See `tributary_tests::fuzz::rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::rows(data));
