//! One accepted connection, from its first byte to its end: TLS, HTTP version, windows, age, idleness, drain.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::ready;
use std::time::Duration;

use engine_core::budget::Budget;
use engine_core::lane::LaneSeat;
use engine_core::peer::Peer;
use engine_core::self_telemetry::spans::Tracer;
use http::header::{self, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, PollSemaphore};

use crate::Protocol;
use crate::server::addresses::AddressSeat;
use crate::server::body::Reading;
use crate::server::limits::WindowPool;
use crate::server::reply::Answer;
use crate::server::stream::{Replayed, Socket};
use crate::server::{Auth, Cors, Counters, Handler, Limits, Refusal, ServerOptions, grpc, http as otlp_http};

/// Streams that a peer opened and reset before they were served; more of them is an attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Streams that this side had to reset because of the peer's errors, before the connection is closed.
const MAX_ERROR_RESETS: usize = 256;

/// What all connections of one server share.
pub(super) struct Server<H> {
    pub(super) handler: Arc<H>,
    options: ServerOptions,
    budget: Budget,
    windows: WindowPool,
    /// Turns of handshakes.
    handshakes: Arc<Semaphore>,
    drain: CancellationToken,
    cut: CancellationToken,
}

/// A connection's place: counted, limited and on a lane until it is dropped.
pub(super) struct Seat {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressSeat>,
    _lane: LaneSeat,
}

/// How many requests a connection has in flight, and since when none; when it is to be used no more.
struct Activity {
    born: Instant,
    in_flight: AtomicUsize,
    idle_since_ms: AtomicU64,
    /// When it is too old.
    last_at: Option<Instant>,
    /// Whether the next answer is the last one.
    is_last: AtomicBool,
    /// The last answer was given.
    last_given: Notify,
}

/// A request in flight.
struct Busy(Arc<Activity>);

/// Serves one connection until it ends or is cut.
pub(super) async fn run<H: Handler>(
    server: Arc<Server<H>>,
    socket: std::net::TcpStream,
    address: SocketAddr,
    seat: Seat,
) {
    let peer = Arc::new(Peer::connected_now(address));
    let cut = server.cut.clone();
    let served = async {
        let counters = Arc::clone(server.counters());
        let socket = match TcpStream::from_std(socket).and_then(|stream| Socket::new(stream, counters)) {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(peer = %address, %error, "a connection was lost before it was served"),
        };
        match secure_and_serve(&server, socket, peer).await {
            Ok(()) => {}
            Err(ConnectionError::Handshake(problem)) => {
                server.counters().refuse(Refusal::Handshake);
                tracing::debug!(peer = %address, problem, "connection refused");
            }
            Err(ConnectionError::Http(error)) => {
                tracing::debug!(peer = %address, %error, "connection ended with an error")
            }
        }
    };
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        () = served => {}
    }
    drop(seat);
}

enum ConnectionError {
    Handshake(String),
    Http(hyper::Error),
}

impl<H: Handler> Server<H> {
    pub(super) fn new(
        options: ServerOptions,
        budget: Budget,
        handler: Arc<H>,
        drain: CancellationToken,
        cut: CancellationToken,
        handshakes: usize,
    ) -> Self {
        let handshakes = Arc::new(Semaphore::new(handshakes));
        Self { handler, options, budget, windows: WindowPool::default(), handshakes, drain, cut }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.options.counters
    }

    pub(super) fn auth(&self) -> Option<&Auth> {
        self.options.auth.as_ref()
    }

    pub(super) fn cors(&self) -> Option<&Cors> {
        self.options.cors.as_ref()
    }

    pub(super) fn tracer(&self) -> Option<&Tracer> {
        self.options.tracer.as_ref()
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.options.tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.options.limits
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        let limits = self.limits();
        Reading { budget: &self.budget, max_size: limits.max_request_size, timeout: limits.request_timeout }
    }
}

async fn secure_and_serve<H: Handler>(
    server: &Arc<Server<H>>,
    socket: Socket,
    peer: Arc<Peer>,
) -> Result<(), ConnectionError> {
    let Some(tls) = &server.options.tls else {
        return detect_and_serve(server, socket, peer).await;
    };
    // Boxed, because connections in clear shall not have room for it.
    let handshake = Box::pin(async { in_turns(&server.handshakes, tls.acceptor().await.accept(socket)).await });
    match tokio::time::timeout(server.limits().handshake_timeout, handshake).await {
        // Boxed, as everything below that few connections need or that would be held twice: thousands of connections
        // are mostly the size of this future.
        Ok(Ok(stream)) => Box::pin(detect_and_serve(server, stream, peer)).await,
        Ok(Err(error)) => Err(ConnectionError::Handshake(format!("tls handshake failed: {error}"))),
        Err(_) => Err(ConnectionError::Handshake("tls handshake timed out".to_owned())),
    }
}

/// Runs a handshake step by step, each in its turn. A step is what was received and the arithmetic that answers it, a
/// millisecond or so; a flood of them must not take the lanes from requests. Between two steps, when the peer's word is
/// waited for, no turn is held: silent peers keep nobody from theirs.
async fn in_turns<F: Future>(turns: &Arc<Semaphore>, handshake: F) -> F::Output {
    let mut handshake = pin!(handshake);
    let mut turns = PollSemaphore::new(Arc::clone(turns));
    poll_fn(|context| {
        let _turn = ready!(turns.poll_acquire(context));
        handshake.as_mut().poll(context)
    })
    .await
}

async fn detect_and_serve<H, S>(server: &Arc<Server<H>>, stream: S, peer: Arc<Peer>) -> Result<(), ConnectionError>
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Replayed::new(stream);
    let detection = tokio::select! {
        biased;
        detection = tokio::time::timeout(server.limits().header_timeout, stream.detect()) => detection,
        // A peer that has not said anything when the drain's time is over never will.
        () = grace_over(server) => return Ok(()),
    };
    let speaks_http2 = match detection {
        Ok(Ok(Some(speaks_http2))) => speaks_http2,
        // Closed without a word: a port scan or a health check.
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(ConnectionError::Handshake(error.to_string())),
        Err(_) => return Err(ConnectionError::Handshake("nothing was sent in time".to_owned())),
    };
    if speaks_http2 { serve_http2(server, stream, peer).await } else { serve_http1(server, stream, peer).await }
}

async fn serve_http2<H, S>(server: &Arc<Server<H>>, stream: Replayed<S>, peer: Arc<Peer>) -> Result<(), ConnectionError>
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = server.limits();
    let lease = server.windows.lease(&server.budget);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_frame_size(lease.windows.frame)
        .initial_stream_window_size(lease.windows.stream)
        .initial_connection_window_size(lease.windows.connection)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_size)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    let activity = Arc::new(Activity::new(limits));
    let (service_server, service_activity) = (Arc::clone(server), Arc::clone(&activity));
    let service = service_fn(move |request| {
        answer(Arc::clone(&service_server), Arc::clone(&peer), request, Busy::start(&service_activity))
    });
    let connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    let result = drive(server, connection, &activity).await;
    drop(lease);
    result
}

async fn serve_http1<H, S>(server: &Arc<Server<H>>, stream: Replayed<S>, peer: Arc<Peer>) -> Result<(), ConnectionError>
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = server.limits();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.max_header_size as usize);
    // Any number but hyper's own default makes it allocate for every request.
    if limits.max_headers != 100 {
        builder.max_headers(limits.max_headers);
    }
    let activity = Arc::new(Activity::new(limits));
    let (service_server, service_activity) = (Arc::clone(server), Arc::clone(&activity));
    let service = service_fn(move |request| {
        answer(Arc::clone(&service_server), Arc::clone(&peer), request, Busy::start(&service_activity))
    });
    let connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    drive(server, connection, &activity).await
}

async fn answer<H: Handler>(
    server: Arc<Server<H>>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
    busy: Busy,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let is_http2 = request.version() == Version::HTTP_2;
    let mut response = match server.options.protocol {
        Protocol::Grpc => grpc::serve(&server, &peer, request).await,
        Protocol::Http => otlp_http::serve(&server, &peer, request).await,
    };
    // The connection itself may hear of it only after this answer.
    let is_over = || server.drain.is_cancelled() || server.options.leaving.is_cancelled();
    if !is_http2 && (busy.0.is_last.load(Ordering::Relaxed) || is_over()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    drop(busy);
    Ok(response)
}

/// Runs a connection until it ends by itself or, after it was told to close, its grace is over.
async fn drive<H, C>(
    server: &Server<H>,
    mut connection: Pin<Box<C>>,
    activity: &Activity,
) -> Result<(), ConnectionError>
where
    H: Handler,
    C: GracefulConnection<Error = hyper::Error>,
{
    tokio::select! {
        biased;
        // First, so that a request whose first bytes are here already is read before the connection is told to close.
        result = connection.as_mut() => return result.map_err(ConnectionError::Http),
        () = server.drain.cancelled() => {}
        () = last_answer(server, activity) => {}
        () = idle_for_long(activity, server.limits()) => {}
    }
    connection.as_mut().graceful_shutdown();
    match tokio::time::timeout(server.limits().drain_grace, connection).await {
        Ok(result) => result.map_err(ConnectionError::Http),
        Err(_) => Ok(()),
    }
}

/// Returns when the connection has given its last answer, which it does once it is too old or its clients should be elsewhere.
///
/// A client that hears of the close between two requests may have put the next one aside for this connection, and not all
/// try again. Who has just got an answer has none on the way, if it sends one after the other.
async fn last_answer<H: Handler>(server: &Server<H>, activity: &Activity) {
    let too_old = async {
        match activity.last_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = server.options.leaving.cancelled() => {}
        () = too_old => {}
    }
    activity.is_last.store(true, Ordering::Relaxed);
    activity.last_given.notified().await;
}

/// Returns when the connection was idle for too long.
async fn idle_for_long(activity: &Activity, limits: &Limits) {
    loop {
        let now = Instant::now();
        let idle_since = activity.idle_since();
        if idle_since.is_some_and(|since| since + limits.idle_timeout <= now) {
            return;
        }
        tokio::time::sleep_until(idle_since.unwrap_or(now) + limits.idle_timeout).await;
    }
}

async fn grace_over<H: Handler>(server: &Server<H>) {
    server.drain.cancelled().await;
    tokio::time::sleep(server.limits().drain_grace).await;
}

impl Seat {
    pub(super) fn take(
        counters: &Arc<Counters>,
        permit: OwnedSemaphorePermit,
        address: Option<AddressSeat>,
        lane: LaneSeat,
    ) -> Self {
        counters.open_connection();
        Self { counters: Arc::clone(counters), _permit: permit, _address: address, _lane: lane }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counters.close_connection();
    }
}

impl Activity {
    fn new(limits: &Limits) -> Self {
        let born = Instant::now();
        Self {
            born,
            in_flight: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            last_at: limits.max_connection_age.map(|age| born + age.mul_f64(rand::random_range(0.9..=1.1))),
            is_last: AtomicBool::new(false),
            last_given: Notify::new(),
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        Some(self.born + Duration::from_millis(self.idle_since_ms.load(Ordering::Relaxed)))
    }
}

impl Busy {
    fn start(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let age = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.idle_since_ms.store(age, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.0.is_last.load(Ordering::Relaxed) {
            self.0.last_given.notify_one();
        }
    }
}
