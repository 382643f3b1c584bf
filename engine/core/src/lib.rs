//! What every component stands on: batches, acknowledgements, contracts, the registry, edges, lanes,
//! the memory budget, the sink driver and the ledger.
//!
//! Not here: reading configuration (`engine-config`), OTLP bytes (`otlp`), wiring a whole graph (`engine`).

pub mod batch;
pub mod budget;
pub mod contract;
pub mod edge;
pub mod lane;
pub mod ledger;
pub mod memory;
pub mod outcome;
pub mod peer;
pub mod poison;
pub mod receipt;
pub mod registry;
pub mod selection;
pub mod self_telemetry;
pub mod service;
pub mod sink;
pub mod socket;
pub mod stage;
pub mod state_store;
pub mod telemetry;
#[cfg(feature = "test-kit")]
pub mod test_kit;
