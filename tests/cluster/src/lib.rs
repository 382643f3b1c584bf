//! A real Kubernetes for tests, on this machine, without Docker, a registry or downloads.
//!
//! [`ControlPlane`] is etcd, the API server and the controllers: objects, watches, leases. [`Cluster`] adds nodes that run
//! pods. [`FaultProxy`] stands in front of either and answers badly on demand, [`Witness`] sees what becomes of objects. What the environment variable `KUBECONFIG`
//! names is used instead of a cluster of its own; where something is missing a test skips with [`or_skip`], loudly.
//!
//! Not here: anything that stands in for Kubernetes, and the programs' build (`programs/build`).

mod access;
mod audit;
mod certificates;
mod control_plane;
mod control_programs;
pub mod faults;
mod image;
mod network;
mod nodes;
mod objects;
mod programs;
mod skip;
mod start_error;
mod supervisor;
mod wait;
mod witness;

pub use access::Access;
pub use audit::AuditEvent;
pub use control_plane::ControlPlane;
pub use faults::FaultProxy;
pub use image::{Image, ImageOptions};
pub use nodes::Cluster;
pub use programs::build_script;
pub use skip::{or_skip, skipped};
pub use start_error::StartError;
pub use supervisor::{base_directory, detached_clusters, end_detached};
pub use wait::wait_until;
pub use witness::{Followed, ObjectId, Objects, Witness, contains, exactly};
