//! Why there is no cluster.

/// Why a cluster could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This machine lacks something; outside CI that is no fault of the test that wanted a cluster.
    #[error("missing: {}", .0.join("; "))]
    Missing(Vec<String>),
    /// Everything is there, and it did not start.
    #[error("the cluster did not start: {0:#}")]
    Failed(#[from] anyhow::Error),
}
