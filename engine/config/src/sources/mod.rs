//! Option modules of the sources, one a component, and those that several of them hold.

pub mod file;
pub mod generate;
pub mod host_metrics;
pub mod internal;
pub mod kubernetes_logs;
pub mod log_format;
pub mod otlp;
pub mod reading;

pub use file::File;
pub use generate::Generate;
pub use host_metrics::HostMetrics;
pub use internal::Internal;
pub use kubernetes_logs::KubernetesLogs;
pub use otlp::OtlpSource;
