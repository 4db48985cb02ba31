//! See `tributary_tests::fuzz::commit_bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::commit_bodies(data));
