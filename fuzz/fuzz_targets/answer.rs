//! Answers to the clients of `transport`: raw, HTTP and gRPC, with everything that is parsed out of them.
//! `cargo test -p transport --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../components/transport/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::answer(data));
