//! Sources, one module per component. A module registers its component; nothing here is called by name.

#[allow(dead_code, reason = "the generator is complete, its registration follows with the source contract")]
mod generate;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the scraper is complete, its registration follows with the source contract")]
mod host_metrics;
mod otlp;
