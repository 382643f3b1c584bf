//! Option modules of the sources, one a component.

pub mod generate;
pub mod host_metrics;
pub mod internal;
pub mod otlp;

pub use generate::Generate;
pub use host_metrics::HostMetrics;
pub use internal::Internal;
pub use otlp::OtlpSource;
