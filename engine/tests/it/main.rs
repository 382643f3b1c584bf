//! The binary and its command line, from the outside.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod buffer;
mod cli;
mod harness;
mod process;
mod reload;
