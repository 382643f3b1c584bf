//! The engine: one binary that runs a DAG of sources, transforms and sinks.
//!
//! Wires what the other crates bring. There is no role here: a role is a configuration.

pub mod admin;
pub mod cli;
pub mod environment;
pub mod lifecycle;
pub mod logging;
pub mod reclaim;
pub mod reload;
pub mod topology;

// Without a use of the component crates the linker would drop them, and with them their registrations.
use {sinks as _, sources as _, transforms as _};
