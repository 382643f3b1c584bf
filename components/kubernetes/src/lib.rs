//! What the cluster says: pods, nodes and namespaces, watched once a process and kept small.
//!
//! [`Metadata`] is the service that components share. [`follow_endpoints`] tells who is ready behind a Service. [`Candidate`]
//! makes one of several processes the leader, and [`follow`] tells what happens to objects of one kind; these two need nothing of
//! the engine. Not here: what is put into data (`transforms`).

#[cfg(feature = "metadata")]
mod access;
#[cfg(feature = "metadata")]
mod backlog;
#[cfg(feature = "metadata")]
mod endpoints;
#[cfg(feature = "metadata")]
mod index;
#[cfg(feature = "metadata")]
mod intern;
mod lease;
#[cfg(feature = "metadata")]
mod metadata;
#[cfg(feature = "follow")]
#[cfg_attr(not(feature = "metadata"), allow(dead_code, reason = "only the metadata service lists in protobuf"))]
mod object;
#[cfg(feature = "metadata")]
mod place;
#[cfg(feature = "metadata")]
mod pod;
#[cfg(feature = "follow")]
#[cfg_attr(not(feature = "metadata"), allow(dead_code, reason = "only the metadata service lists in protobuf"))]
mod protobuf;
#[cfg(feature = "metadata")]
mod wanted;
#[cfg(feature = "follow")]
#[cfg_attr(not(feature = "metadata"), allow(dead_code, reason = "only the metadata service lists in protobuf"))]
mod watch;

#[cfg(feature = "metadata")]
pub use access::AccessError;
#[cfg(feature = "metadata")]
pub use endpoints::{AddressFamily, Endpoint, EndpointOptions, ReadyEndpoints, follow_endpoints};
#[cfg(feature = "metadata")]
pub use index::{Attribution, Contact, Holder, SETTLED_AFTER};
pub use lease::{Candidate, LeaseOptions};
#[cfg(feature = "metadata")]
pub use metadata::{Metadata, Wish};
#[cfg(feature = "metadata")]
pub use place::{Namespace, Node};
#[cfg(feature = "metadata")]
pub use pod::{Container, Owner, OwnerKind, Pod, Uid};
#[cfg(feature = "metadata")]
pub use wanted::{Chosen, KeySelection, Wanted, value_of};
#[cfg(feature = "follow")]
pub use watch::{Interruption, News, Selection, follow};
