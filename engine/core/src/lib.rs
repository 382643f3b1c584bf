//! What every component stands on: batches, acknowledgements, contracts, the registry, edges, lanes,
//! the memory budget, the sink driver and the ledger.
//!
//! Not here: reading configuration (`engine-config`), OTLP bytes (`otlp`), wiring a whole graph (`engine`).

pub mod budget;
pub mod lane;
pub mod outcome;
pub mod receipt;
