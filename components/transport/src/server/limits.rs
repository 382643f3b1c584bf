//! Settings of a server: what a peer may send, how long it may take, and the HTTP/2 windows it is offered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine_core::budget::{Budget, Charge};
use engine_core::self_telemetry::spans::Tracer;
use tokio_util::sync::CancellationToken;

use crate::Protocol;
use crate::server::{Auth, Cors, Counters};
use crate::tls::ServerTls;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// The part of the budget that large frames of all connections may reserve.
const LARGE_FRAMES_SHARE: usize = 8;

/// Memory of an HTTP/2 connection without a request, as `cargo bars connections` finds it.
const STATE: usize = 32 * KIB as usize;

/// How a server listens and what it allows.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What is spoken on the port.
    pub protocol: Protocol,
    /// Certificates; plain text without.
    pub tls: Option<ServerTls>,
    /// Who may send; anybody without.
    pub auth: Option<Auth>,
    /// Which pages' scripts may send over HTTP; none without.
    pub cors: Option<Cors>,
    /// Sizes, counts and times.
    pub limits: Limits,
    /// Where this server counts.
    pub counters: Arc<Counters>,
    /// What makes spans of requests; none without.
    pub tracer: Option<Tracer>,
    /// Cancelled some time before the drain. Each connection is closed with the next answer from then on: whoever is told
    /// between two requests may have the next one on its way.
    pub leaving: CancellationToken,
}

/// Bounds on what one peer and all peers together may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest request body in bytes, after inflating; also the largest compressed one.
    pub max_request_size: usize,
    /// Largest sum of header names and values in bytes (HTTP/2 adds 32 for each header).
    pub max_header_size: u32,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Most connections; further ones are closed at once.
    pub max_connections: usize,
    /// Most connections of one IPv4 address or one IPv6 network of 64 bits; further ones are closed at once. `None`: no
    /// more than of all.
    pub max_connections_per_address: Option<usize>,
    /// Most requests in flight on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the HTTP/2 preface and for the headers of an HTTP/1 request. An HTTP/1 connection that waits longer
    /// for its next request is closed too, because hyper has one timer for both.
    pub header_timeout: Duration,
    /// Time from a request's headers to the end of its body.
    pub request_timeout: Duration,
    /// A connection without a request in flight for this long is closed.
    pub idle_timeout: Duration,
    /// A silent HTTP/2 peer is asked for a sign of life this often.
    pub keepalive_interval: Duration,
    /// A peer that gives no sign of life for this long after it was asked is gone.
    pub keepalive_timeout: Duration,
    /// A connection older than this, 10 % more or less, is closed gracefully with its next answer, so that clients spread
    /// again over replicas. `None`: never.
    pub max_connection_age: Option<Duration>,
    /// How long requests in flight may take after a connection was told to close.
    pub drain_grace: Duration,
}

/// Flow control of one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) frame: u32,
    pub(super) stream: u32,
    pub(super) connection: u32,
}

/// Deals out windows: large while the frames of all connections stay below their share of the budget.
#[derive(Debug, Default)]
pub(super) struct WindowPool {
    large: Arc<AtomicUsize>,
}

/// Windows lent to a connection, with the memory that its unfinished frame may take.
#[derive(Debug)]
pub(super) struct WindowLease {
    pub(super) windows: Windows,
    _charge: Option<Charge>,
    large: Option<Arc<AtomicUsize>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_size: 64 * MIB as usize,
            max_header_size: 16 * KIB,
            max_headers: 100,
            max_connections: 4096,
            max_connections_per_address: None,
            max_concurrent_streams: 200,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(180),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            max_connection_age: None,
            drain_grace: Duration::from_secs(30),
        }
    }
}

impl ServerOptions {
    /// Plain text with the default limits and counters of its own.
    pub fn new(protocol: Protocol) -> Self {
        let (limits, counters) = (Limits::default(), Arc::default());
        let leaving = CancellationToken::new();
        Self { protocol, tls: None, auth: None, cors: None, limits, counters, tracer: None, leaving }
    }
}

impl Windows {
    /// A body of usual size comes in one frame, and a connection can have several on the way.
    pub(super) const LARGE: Self = Self { frame: MIB, stream: 2 * MIB, connection: 16 * MIB };
    /// What thousands of connections can be offered.
    pub(super) const SMALL: Self = Self { frame: 16 * KIB, stream: 64 * KIB, connection: 256 * KIB };
    /// What is offered while memory is short: as little as HTTP/2 gets on with.
    pub(super) const LEAST: Self = Self { frame: 16 * KIB, stream: 16 * KIB, connection: 64 * KIB };

    /// Memory that a connection with these windows takes before anything of a request is charged: its state, and what may
    /// have been read of a request whose turn has not come.
    fn cost(self) -> usize {
        STATE + self.stream.max(self.frame) as usize
    }
}

impl WindowPool {
    /// Windows for one more connection. A frame reaches us only when it is complete, and frames of several connections come
    /// before one of them has its turn, so all that is charged up front. The least of connections is served even when the
    /// budget has no room for its charge, because the peer shall get an answer that says so.
    pub(super) fn lease(&self, budget: &Budget) -> WindowLease {
        let frame = Windows::LARGE.frame as usize;
        let large_after = self.large.fetch_add(1, Ordering::Relaxed) + 1;
        if large_after * frame <= budget.limit() / LARGE_FRAMES_SHARE
            && let Ok(charge) = budget.try_charge(Windows::LARGE.cost())
        {
            return WindowLease {
                windows: Windows::LARGE,
                _charge: Some(charge),
                large: Some(Arc::clone(&self.large)),
            };
        }
        self.large.fetch_sub(1, Ordering::Relaxed);
        // Half of the budget is left to requests.
        let is_short = budget.used() + Windows::SMALL.cost() > budget.limit() / 2;
        let windows = if is_short { Windows::LEAST } else { Windows::SMALL };
        WindowLease { windows, _charge: budget.try_charge(windows.cost()).ok(), large: None }
    }
}

impl Drop for WindowLease {
    fn drop(&mut self) {
        if let Some(large) = &self.large {
            large.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections get large windows until an eighth of the budget is reserved, and again when one has ended.
    #[test]
    fn deals_large_windows_within_an_eighth() {
        let budget = Budget::new(16 * MIB as usize);
        let pool = WindowPool::default();
        let first = pool.lease(&budget);
        let second = pool.lease(&budget);
        let third = pool.lease(&budget);
        assert_eq!([first.windows, second.windows, third.windows], [Windows::LARGE, Windows::LARGE, Windows::SMALL]);
        drop(first);
        assert_eq!(pool.lease(&budget).windows, Windows::LARGE);
        drop((second, third));
        assert_eq!(budget.used(), 0);
    }

    /// A full budget still serves the smallest windows, uncharged, so that peers hear why they are refused.
    #[test]
    fn serves_the_least_from_a_full_budget() {
        let budget = Budget::new(64 * MIB as usize);
        let _held = budget.try_charge(64 * MIB as usize);
        assert_eq!(WindowPool::default().lease(&budget).windows, Windows::LEAST);
    }

    /// Connections are charged for what they take, and from half of the budget on they are offered less, so that a crowd
    /// leaves room for requests.
    #[test]
    fn a_crowd_leaves_room_for_requests() {
        let budget = Budget::new(32 * MIB as usize);
        let pool = WindowPool::default();
        let crowd: Vec<_> = (0..300).map(|_| pool.lease(&budget)).collect();
        let count = |windows| crowd.iter().filter(|lease| lease.windows == windows).count();
        assert_eq!((count(Windows::LARGE), count(Windows::SMALL), count(Windows::LEAST)), (4, 84, 212));
        assert!(budget.used() < budget.limit());
        drop(crowd);
        assert_eq!(budget.used(), 0);
    }
}
