//! Faults on purpose, with real processes and sockets: clients that know what they were told, a backend that knows what came, and in
//! between an engine, and a way to the backend that fails as it is told to.
//!
//! A run warms up, injects under load, heals, settles, and probes whether data flows again; the judge compares what clients were
//! told with what came and with the engine's own ledger. A run whose fault did not hit proves nothing and fails. Everything
//! that is drawn at random follows from a seed. Knows the engine only as a program with a configuration file.

pub mod backend;
pub mod engine;
pub mod judge;
pub mod link;
pub mod oracle;
pub mod producer;
pub mod proxy;
mod ranges;
pub mod record;
pub mod scenarios;
pub mod scene;

pub use judge::Report;
pub use scenarios::{Scenario, find};
pub use scene::{Length, Run};
