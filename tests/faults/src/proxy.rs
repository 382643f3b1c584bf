//! The way between two programs: a TCP proxy whose behaviour can be changed while it carries. Kernels of small machines have no
//! means for delay and loss; what it does to bytes and connections it does in this process.

mod answers;
mod carry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The queue of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Connections are reset, new ones refused.
    Refuse,
    /// Connections stand and new ones are accepted, and nothing passes either way, as to a process that is stopped.
    Hold,
    /// What the server answers does not pass; what it is sent does.
    HoldAnswers,
    /// So many bytes a second pass to the server on each connection.
    Slow(u64),
    /// What the server answers comes so much later.
    Delay(Duration),
    /// Of so many answers one is lost: its connection is reset once the answer has begun.
    LoseAnswers(u64),
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that were reset on purpose.
    pub cut: u64,
    /// Of these, those whose answer had begun.
    pub lost_answers: u64,
    /// Answers that the server has begun.
    pub answers: u64,
    /// Bytes to the server.
    pub to_server: u64,
    /// Bytes from the server.
    pub to_client: u64,
}

/// A running proxy; ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    cut: AtomicU64,
    lost_answers: AtomicU64,
    answers: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

struct Shared {
    server: SocketAddr,
    mode: watch::Sender<Mode>,
    /// How many of ten connections are to be cut, with a number that changes with every order.
    cut: watch::Sender<(u64, u64)>,
    counters: Counters,
}

impl Proxy {
    /// Listens on a free loopback port in front of a server.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub fn start(server: SocketAddr) -> std::io::Result<Self> {
        let bound = bind("127.0.0.1:0".parse().expect("an address"))?;
        let address = bound.local_addr()?.as_socket().expect("it is bound to an address of IP");
        let listener = listen(bound)?;
        let (mode, cut) = (watch::Sender::new(Mode::Pass), watch::Sender::new((0, 0)));
        let shared = Arc::new(Shared { server, mode, cut, counters: Counters::default() });
        let accepting = tokio::spawn(accept(listener, address, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens, on connections that stand too.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Resets so many of ten connections, at random.
    pub fn cut(&self, of_ten: u64) {
        self.shared.cut.send_modify(|(order, share)| (*order, *share) = (*order + 1, of_ten));
    }

    /// What happened so far.
    pub fn passed(&self) -> Passed {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Passed {
            connections: read(&counters.connections),
            cut: read(&counters.cut),
            lost_answers: read(&counters.lost_answers),
            answers: read(&counters.answers),
            to_server: read(&counters.to_server),
            to_client: read(&counters.to_client),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Mode {
    fn holds_requests(self) -> bool {
        self == Self::Hold
    }

    fn holds_answers(self) -> bool {
        matches!(self, Self::Hold | Self::HoldAnswers)
    }
}

async fn accept(mut listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            refused = mode.changed() => {
                if refused.is_err() {
                    return;
                }
                if *mode.borrow_and_update() != Mode::Refuse {
                    continue;
                }
                // A socket that is bound and does not listen keeps the port from others, and the kernel refuses for it.
                let Ok(kept) = bind(address) else { return };
                drop(listener);
                if mode.wait_for(|mode| *mode != Mode::Refuse).await.is_err() {
                    return;
                }
                let Ok(again) = listen(kept) else { return };
                listener = again;
            }
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry::carry(stream, Arc::clone(&shared), number));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A socket that shares its port with others of this process, so that one can take over from another.
fn bind(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> std::io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests;
