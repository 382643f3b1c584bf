//! The telemetry manager: watches pipelines, renders one engine configuration per role, applies workloads, reports status.
//!
//! Not here: running a pipeline (the engine does), and judging its configuration (`engine-config`).

pub mod apply;
pub mod crd;
