//! The load harness: what drives a gateway, what receives from it, and what it is measured against.
//! Knows the engine only as a program with a configuration file, and the manager as one with a cluster; links none of their code.
#![allow(missing_docs, reason = "the first line of each module documents it")]

pub mod admin;
pub mod bars;
pub mod build;
pub mod churn;
pub mod compression;
pub mod counting_sink;
pub mod frames;
pub mod generator;
pub mod hop;
pub mod hostile;
pub mod kubernetes;
pub mod log_writer;
pub mod manager;
pub mod null_hop;
pub mod numbers;
pub mod payload;
pub mod peer;
pub mod process;
pub mod report;
pub mod roles;
pub mod run;
pub mod signal;
