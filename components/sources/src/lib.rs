//! Sources, one module per component. A module registers its component; nothing here is called by name.

mod generate;
#[cfg(target_os = "linux")]
mod host_metrics;
#[cfg(not(target_os = "linux"))]
#[path = "host_metrics/unsupported.rs"]
mod host_metrics;
mod internal;
mod otlp;
mod pull;
