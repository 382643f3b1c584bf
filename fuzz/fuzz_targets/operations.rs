//! Edits, partition, split, halves, concatenation and JSON against the same on structs. The first byte chooses the signal,
//! the next eight what is done.
//! The checks are those of the property tests; `cargo test -p otlp --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../engine/otlp/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::fuzz_operations(data));
