//! See `tributary_tests::fuzz::batch_bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::batch_bodies(data));
