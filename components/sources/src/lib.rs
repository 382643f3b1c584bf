//! Sources, one module per component. A module registers its component; nothing here is called by name.

#[cfg(target_os = "linux")]
mod file;
mod generate;
#[cfg(target_os = "linux")]
mod host_metrics;
#[cfg(not(target_os = "linux"))]
#[path = "host_metrics/unsupported.rs"]
mod host_metrics;
mod internal;
#[cfg(target_os = "linux")]
mod kubernetes_logs;
mod otlp;
mod pull;
#[cfg(target_os = "linux")]
mod tail;
#[cfg(not(target_os = "linux"))]
#[path = "tail/unsupported.rs"]
mod tail;
