//! What runs: the configuration of each role, and the objects that run it.

pub mod config;
pub mod destination;
pub mod files;
pub mod objects;
mod sink;
