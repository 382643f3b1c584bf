//! Who sent a batch over the network. Not here: whether the sender may be believed (`transport`, the source).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// When the connection was made. A connection does not outlive what made it, while an address may go to another.
    pub connected: Instant,
}

/// How a batch came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent it.
    pub peer: Arc<Peer>,
    /// When all of it was there.
    pub at: Instant,
}

impl Peer {
    /// A peer that has connected now.
    pub fn connected_now(address: SocketAddr) -> Self {
        Self { address, connected: Instant::now() }
    }
}
