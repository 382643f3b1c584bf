//! Judging, writing and covering configurations, for any text.
//! `cargo test -p engine-config --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../engine/config/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::config(data));
