//! Sockets: the engine binds them before anything runs and lends them to sources and sinks.
//!
//! A component that is replaced gets the same socket again, so nothing is refused in between. No SO_REUSEPORT: a second
//! engine on the same port must fail to bind.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use engine_config::ComponentId;
use parking_lot::Mutex;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bound listeners. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<Mutex<HashMap<Asked, TcpListener>>>);

/// What was asked for. The key is part of it, because two listeners of one component may both ask for port 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Asked {
    component: ComponentId,
    key: String,
    address: SocketAddr,
}

/// A listener that is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The component it is lent to.
    pub component: ComponentId,
    /// The key of the component's options that asks for it, such as `grpc.listen`.
    pub key: String,
    /// The address as the operating system chose it.
    pub address: SocketAddr,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{component}: cannot listen on {address}: {source}")]
pub struct BindError {
    /// Who asked for it.
    pub component: ComponentId,
    /// The address.
    pub address: SocketAddr,
    /// The operating system's answer.
    #[source]
    pub source: io::Error,
}

impl Sockets {
    /// Binds `address` for the listener `key` of `component` (the option that asks for it, such as `grpc.listen`), unless
    /// it holds it already.
    pub fn bind(&self, component: &ComponentId, key: &str, address: SocketAddr) -> Result<(), BindError> {
        let asked = Asked::new(component, key, address);
        if self.0.lock().contains_key(&asked) {
            return Ok(());
        }
        let listener = listen(address).map_err(|source| BindError { component: component.clone(), address, source })?;
        self.0.lock().insert(asked, listener);
        Ok(())
    }

    /// The same while others may hold the address for a component that is about to end: then its socket is shared, so that
    /// nobody who connects is refused. Whether the listener was not held before.
    pub fn bind_or_share(&self, component: &ComponentId, key: &str, address: SocketAddr) -> Result<bool, BindError> {
        let asked = Asked::new(component, key, address);
        {
            let mut sockets = self.0.lock();
            if sockets.contains_key(&asked) {
                return Ok(false);
            }
            let held = sockets.iter().find(|(other, _)| other.address == address && address.port() != 0);
            if let Some(Ok(shared)) = held.map(|(_, listener)| listener.try_clone()) {
                sockets.insert(asked, shared);
                return Ok(true);
            }
        }
        self.bind(component, key, address).map(|()| true)
    }

    /// Gives up one socket; whoever borrowed it may go on.
    pub fn release(&self, component: &ComponentId, key: &str, address: SocketAddr) {
        self.0.lock().remove(&Asked::new(component, key, address));
    }

    /// A handle to the listener that was bound for this key of the component at this address.
    pub fn lend(&self, component: &ComponentId, key: &str, address: SocketAddr) -> io::Result<TcpListener> {
        let sockets = self.0.lock();
        let listener = sockets.get(&Asked::new(component, key, address)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{address} was not bound for {key} of {component}"))
        })?;
        listener.try_clone()
    }

    /// Gives up every socket. A listener that was lent lives on until its borrower drops it; then the port is closed, and
    /// who connects is refused at once instead of waiting for nobody.
    pub fn close(&self) {
        self.0.lock().clear();
    }

    /// Every listener that is bound, in the order of components and keys.
    pub fn bound(&self) -> Vec<Bound> {
        let sockets = self.0.lock();
        let mut asked: Vec<_> = sockets.iter().collect();
        asked.sort_by_key(|(asked, _)| *asked);
        let bound = asked.into_iter().filter_map(|(Asked { component, key, .. }, listener)| {
            let address = listener.local_addr().ok()?;
            Some(Bound { component: component.clone(), key: key.clone(), address })
        });
        bound.collect()
    }
}

impl Asked {
    fn new(component: &ComponentId, key: &str, address: SocketAddr) -> Self {
        Self { component: component.clone(), key: key.to_owned(), address }
    }
}

/// A non-blocking listener; an IPv6 wildcard takes IPv4 too.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Without it a restart would have to wait until the last connections' TIME_WAIT is over.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    /// Two listeners of one component that leave their ports to the system get two sockets, each lent under its key; asking
    /// again brings the same one.
    #[test]
    fn port_zero_is_a_port_for_each_listener() {
        let (sockets, component) = (Sockets::default(), ComponentId::new("apps").unwrap());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for key in ["http.listen", "grpc.listen", "grpc.listen"] {
            sockets.bind(&component, key, any).unwrap();
        }
        let bound = sockets.bound();
        let keys: Vec<&str> = bound.iter().map(|listener| listener.key.as_str()).collect();
        assert_eq!(keys, ["grpc.listen", "http.listen"]);
        assert_ne!(bound[0].address, bound[1].address);
        for listener in &bound {
            let lent = sockets.lend(&component, &listener.key, any).unwrap();
            assert_eq!(lent.local_addr().unwrap(), listener.address);
        }
        assert!(sockets.lend(&component, "listen", any).is_err());
    }
}
