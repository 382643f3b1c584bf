//! Sockets: the engine binds them before anything runs and lends them to sources.
//!
//! A source that is replaced gets the same socket again, so nothing is refused in between. No SO_REUSEPORT: a second
//! engine on the same port must fail to bind.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use engine_config::ComponentId;
use parking_lot::Mutex;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bound listeners by the component and the address it asked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<Mutex<HashMap<(ComponentId, SocketAddr), TcpListener>>>);

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
    /// Binds `address` for `component`, unless it holds it already.
    pub fn bind(&self, component: &ComponentId, address: SocketAddr) -> Result<(), BindError> {
        let key = (component.clone(), address);
        if self.0.lock().contains_key(&key) {
            return Ok(());
        }
        let listener = listen(address).map_err(|source| BindError { component: component.clone(), address, source })?;
        self.0.lock().insert(key, listener);
        Ok(())
    }

    /// A handle to the listener that was bound for this component and address.
    pub fn lend(&self, component: &ComponentId, address: SocketAddr) -> io::Result<TcpListener> {
        let sockets = self.0.lock();
        let listener = sockets.get(&(component.clone(), address)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{address} was not bound for {component}"))
        })?;
        listener.try_clone()
    }

    /// Gives up every socket. A listener that was lent lives on until its borrower drops it; then the port is closed, and
    /// who connects is refused at once instead of waiting for nobody.
    pub fn close(&self) {
        self.0.lock().clear();
    }

    /// Every address that is bound, as the operating system chose it, with the component and the address asked for.
    pub fn bound(&self) -> Vec<(ComponentId, SocketAddr, SocketAddr)> {
        let sockets = self.0.lock();
        let bound = sockets.iter().filter_map(|((component, asked), listener)| {
            listener.local_addr().ok().map(|actual| (component.clone(), *asked, actual))
        });
        let mut bound: Vec<_> = bound.collect();
        bound.sort();
        bound
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
