//! OTLP servers: accept connections, deal them to lanes, hand whole request bodies to a [`Handler`].
//!
//! Everything a peer can make us hold is bounded here and charged to the memory budget before it is held. What a body
//! means, whether it is admitted and who takes it is the handler's matter.

mod addresses;
mod auth;
mod body;
mod connection;
mod cors;
mod counters;
mod grpc;
mod http;
mod json;
mod limits;
mod reply;
mod stream;
mod traced;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::budget::{Budget, Charge};
use engine_core::lane::Lanes;
use engine_core::peer::Peer;
use engine_core::self_telemetry::spans::Span;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address;
use crate::server::addresses::Addresses;
use crate::server::connection::Seat;
use otlp::Signal;
use otlp::json::SnakeCase;

pub use crate::server::auth::{Auth, AuthError, AuthOptions, Denied};
pub use crate::server::cors::{Cors, CorsError, CorsOptions};
pub use crate::server::counters::{Counters, CountersSnapshot, Refusal};
pub use crate::server::limits::{Limits, ServerOptions};
pub use crate::server::reply::Reply;

/// How long accepting pauses when the process is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The part of the lanes that may do the arithmetic of handshakes at one time: the others go on with requests.
const HANDSHAKES_SHARE: usize = 2;

/// One export request, whole and uncompressed.
#[derive(Debug)]
pub struct Request {
    /// What kind of records it carries.
    pub signal: Signal,
    /// The `Export*ServiceRequest` as bytes, not looked into yet.
    pub body: Bytes,
    /// What the body counts against the memory budget, for whoever holds it.
    pub charge: Charge,
    /// Who sent it.
    pub peer: Arc<Peer>,
    /// Size of the body as it came, before inflating and, for JSON, converting; without framing.
    pub wire_bytes: u64,
    /// Keys of a JSON body that were ignored, because OTLP/JSON does not know names in snake_case. Boxed, because every
    /// request has room for it and few have any.
    pub snake_case: Option<Box<SnakeCase>>,
    /// The span of the request, where it is traced. The server ends it with the answer.
    pub span: Option<Arc<Span>>,
}

/// Takes what a server received.
///
/// A call is dropped when its client goes away or takes back its request; what it holds must then be given back.
pub trait Handler: Send + Sync + 'static {
    /// Takes one request and says what became of it.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}

/// What a server did in its life, returned when it has drained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeReport {
    /// Counts at the end.
    pub totals: CountersSnapshot,
}

/// Serves `listener` until `drain` is cancelled and every connection has ended.
///
/// Accepts on the calling runtime; each connection runs on the lane that has the fewest. From [`ServerOptions::leaving`] on
/// each is closed with its next answer. On drain, connections that wait in the accept queue are still taken, HTTP/2 peers get
/// GOAWAY, HTTP/1 connections that are idle are closed, requests in flight finish, and what has not ended after
/// [`Limits::drain_grace`] is cut. Dropping the future cuts all connections at once.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    lanes: Lanes,
    budget: Budget,
    options: ServerOptions,
    handler: Arc<H>,
    drain: CancellationToken,
) -> ServeReport {
    let counters = Arc::clone(&options.counters);
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let seats = Arc::new(Semaphore::new(options.limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let addresses = options.limits.max_connections_per_address.map(Addresses::new);
    let handshakes = (lanes.count() / HANDSHAKES_SHARE).max(1);
    let server = Arc::new(connection::Server::new(options, budget, handler, drain.clone(), cut, handshakes));
    let deal = |socket: std::net::TcpStream, peer: SocketAddr| {
        let address_seat = match &addresses {
            None => None,
            Some(addresses) => match addresses.take(peer.ip()) {
                None => return server.counters().refuse(Refusal::ConnectionsPerAddress),
                seat => seat,
            },
        };
        let Ok(permit) = Arc::clone(&seats).try_acquire_owned() else {
            server.counters().refuse(Refusal::Connections);
            return;
        };
        let (lane, lane_seat) = lanes.seat();
        let seat = Seat::take(server.counters(), permit, address_seat, lane_seat);
        let connection = connection::run(Arc::clone(&server), socket, peer, seat);
        drop(lane.spawn(connections.track_future(connection)));
    };
    loop {
        tokio::select! {
            biased;
            () = drain.cancelled() => break,
            accepted = listener.accept() => match accepted {
                // The socket leaves this runtime's reactor; the lane registers it with its own.
                Ok((socket, peer)) => match socket.into_std() {
                    Ok(socket) => deal(socket, peer),
                    Err(error) => tracing::debug!(%peer, %error, "cannot hand a connection to a lane"),
                },
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections, trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Peers whose connection the kernel completed already get an answer instead of a reset. The reactor may not know
    // of them yet, so the kernel is asked.
    if let Ok(listener) = listener.into_std() {
        // As many as can wait there; who comes later may find the port closed.
        for (socket, peer) in
            std::iter::from_fn(|| listener.accept().ok()).take(address::BACKLOG.unsigned_abs() as usize)
        {
            if socket.set_nonblocking(true).is_ok() {
                deal(socket, peer);
            }
        }
    }
    connections.close();
    connections.wait().await;
    ServeReport { totals: counters.snapshot() }
}

/// Whether accepting failed because of that one connection and not of this process.
fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::TimedOut
    )
}
