//! What the cluster says: pods, nodes and namespaces, watched once a process and kept small.
//!
//! [`Metadata`] is the service that components share. Not here: what is put into data of it (`transforms`).

mod access;
mod index;
mod intern;
mod metadata;
mod object;
mod place;
mod pod;
mod wanted;
mod watch;

pub use access::AccessError;
pub use index::{Contact, Holder, SETTLED_AFTER};
pub use metadata::Metadata;
pub use place::{Namespace, Node};
pub use pod::{Container, Owner, OwnerKind, Pod, Uid};
pub use wanted::{Chosen, KeySelection, Wanted, value_of};
