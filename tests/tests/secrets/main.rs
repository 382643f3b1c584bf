//! A canary in every place that takes a secret, and everything that the program says about it: commands, logs, probes,
//! refusals of hostile peers, unfit files. No form of the canary may come out.
//!
//! The places are taken from the schemas of the options, so a new one without a canary fails here. What secrets are used
//! for is tested where they are used.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod canary;
mod commands;
mod configuration;
mod mistakes;
mod options;
mod peers;
mod program;
mod running;
mod status;
mod unfit;
