//! Whole requests through the servers of `transport`: HTTP/1.1, HTTP/2, gRPC, every coding, over loopback.
//! `cargo test -p transport --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../components/transport/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::request(data));
