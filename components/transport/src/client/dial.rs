//! From an endpoint to a connection that takes requests: resolve, connect, TLS, HTTP handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::Protocol;
use crate::client::body::RequestBody;
use crate::client::{ClientError, ClientOptions, describe};
use crate::tls::{ClientTls, ClientTlsOptions};

/// The next address is tried when the one before has not answered for this long (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Bounds of the pause between failed dials of one client, over all its lanes.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// With requests in flight and nothing heard for this long, the peer is asked for a sign of life. Servers of grpc-go
/// take more frequent pings for abuse.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Receive windows for answers, which are small.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A whole body of usual size is handed to h2 at once.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

const MAX_RESPONSE_HEADERS: u32 = 16 * 1024;

/// Dials one endpoint.
pub(super) struct Dialer {
    host: String,
    port: u16,
    protocol: Protocol,
    tls: Option<(ClientTls, ServerName<'static>)>,
    timeout: Duration,
    next_address: AtomicUsize,
    pause: Mutex<Pause>,
}

/// A connection fresh from its handshake; its driver runs on the runtime that dialled.
pub(super) enum Dialed {
    Http2(http2::SendRequest<RequestBody>),
    Http1(http1::SendRequest<RequestBody>),
}

/// No connection, and how long not to ask again.
#[derive(Clone, Debug)]
pub(super) struct DialError {
    problem: Arc<str>,
    retry_after: Option<Duration>,
}

/// How long nothing is dialled because dialling has failed.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<(Instant, Arc<str>)>,
}

impl Dialer {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let endpoint = &options.endpoint;
        let refuse = |problem| ClientError::Endpoint { endpoint: endpoint.to_string(), problem };
        let secure = match endpoint.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(refuse("it must start with http:// or https://")),
        };
        let host = endpoint.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = endpoint.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            let tls = match &options.tls {
                Some(tls) => tls.clone(),
                None => ClientTls::new(&ClientTlsOptions::default())?,
            };
            let name = tls.server_name().unwrap_or(&host).to_owned();
            let name = ServerName::try_from(name).map_err(|_| refuse("its host is no valid server name"))?;
            Some((tls, name))
        } else if options.tls.is_some() {
            return Err(refuse("tls is configured for a plain-text http:// endpoint"));
        } else {
            None
        };
        Ok(Self {
            host,
            port,
            protocol: options.protocol,
            tls,
            timeout: options.connect_timeout,
            next_address: AtomicUsize::new(0),
            pause: Mutex::default(),
        })
    }

    /// Whether connections are known to speak HTTP/1 before one was made.
    pub(super) fn speaks_http1(&self) -> bool {
        self.protocol == Protocol::Http && self.tls.is_none()
    }

    /// Makes a connection, or says at once that the last failure is too fresh.
    pub(super) async fn dial(&self) -> Result<Dialed, DialError> {
        self.check_pause()?;
        let dialed = match tokio::time::timeout(self.timeout, self.connect()).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("not connected within {:?}", self.timeout))),
        };
        let mut pause = self.pause.lock().expect("nothing panics while it holds the lock");
        match dialed {
            Ok(connection) => {
                *pause = Pause::default();
                Ok(connection)
            }
            Err(error) => {
                let problem: Arc<str> =
                    format!("cannot connect to {}:{}: {}", self.host, self.port, describe(&error)).into();
                let wait = pause.fail(Arc::clone(&problem));
                Err(DialError { problem, retry_after: Some(wait) })
            }
        }
    }

    fn check_pause(&self) -> Result<(), DialError> {
        let pause = self.pause.lock().expect("nothing panics while it holds the lock");
        match &pause.until {
            Some((until, problem)) if *until > Instant::now() => {
                let left = until.duration_since(Instant::now());
                Err(DialError { problem: Arc::clone(problem), retry_after: Some(left) })
            }
            _ => Ok(()),
        }
    }

    async fn connect(&self) -> io::Result<Dialed> {
        let socket = self.connect_any(self.resolve().await?).await?;
        socket.set_nodelay(true)?;
        let Some((tls, name)) = &self.tls else {
            return match self.protocol {
                Protocol::Grpc => http2_handshake(socket).await,
                Protocol::Http => http1_handshake(socket).await,
            };
        };
        let stream = TlsConnector::from(tls.config_for(self.protocol).await).connect(name.clone(), socket).await?;
        let offered_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match self.protocol {
            // Some gRPC servers do not negotiate and speak HTTP/2 all the same.
            Protocol::Grpc => http2_handshake(stream).await,
            Protocol::Http if offered_http2 => http2_handshake(stream).await,
            Protocol::Http => http1_handshake(stream).await,
        }
    }

    /// All addresses of the host, each call starting with another one.
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(self.in_turn(addresses))
    }

    /// The addresses, starting one further than the call before.
    fn in_turn(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let start = self.next_address.fetch_add(1, Ordering::Relaxed) % addresses.len();
        addresses.rotate_left(start);
        addresses
    }

    /// The first address that answers. A silent one does not hold up the next.
    async fn connect_any(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut waiting = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(async move {
                    TcpStream::connect(address)
                        .await
                        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
                });
            } else if attempts.is_empty() {
                return Err(last_error);
            }
            let has_more = !waiting.as_slice().is_empty();
            tokio::select! {
                biased;
                Some(result) = attempts.next() => match result {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last_error = error,
                },
                () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if has_more => {}
            }
        }
    }
}

impl Pause {
    /// Notes a failure; returns how long to leave the endpoint alone: doubling, and half of it by chance, so that
    /// clients that lost a server together do not come back together.
    fn fail(&mut self, problem: Arc<str>) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let wait = doubled.min(LONGEST_PAUSE).mul_f64(rand::random_range(0.5..=1.0));
        self.failures += 1;
        self.until = Some((Instant::now() + wait, problem));
        wait
    }
}

impl DialError {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// A dial whose task was ended with its runtime.
    pub(super) fn interrupted() -> Self {
        Self { problem: "connecting was interrupted".into(), retry_after: None }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem)
    }
}

async fn http2_handshake<S>(stream: S) -> io::Result<Dialed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_RESPONSE_HEADERS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "connection ended with an error");
        }
    });
    Ok(Dialed::Http2(sender))
}

async fn http1_handshake<S>(stream: S) -> io::Result<Dialed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_RESPONSE_HEADERS as usize)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "connection ended with an error");
        }
    });
    Ok(Dialed::Http1(sender))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    fn dialer(endpoint: &str) -> Dialer {
        Dialer::new(&ClientOptions::new(endpoint.parse().unwrap(), Protocol::Grpc)).unwrap()
    }

    async fn refusing_address() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    /// An address that refuses is passed over; when all do, the error names the last.
    #[tokio::test]
    async fn tries_every_address() {
        let dialer = dialer("http://host:1");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let (first, second) = (refusing_address().await, refusing_address().await);
        let socket = dialer.connect_any(vec![first, second, good]).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), good);
        let error = dialer.connect_any(vec![first, second]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with(&second.to_string()), "{error}");
    }

    /// Ports follow the scheme, and an IPv6 address loses its brackets.
    #[tokio::test]
    async fn reads_endpoints() {
        for (endpoint, host, port) in
            [("http://a", "a", 80), ("https://a", "a", 443), ("http://a:4317", "a", 4317), ("http://[::1]:7", "::1", 7)]
        {
            let dialer = dialer(endpoint);
            assert_eq!((dialer.host.as_str(), dialer.port), (host, port));
        }
        assert_eq!(dialer("http://[::1]:7").resolve().await.unwrap(), ["[::1]:7".parse().unwrap()]);
    }

    /// Connections spread over the addresses of a name: each dial starts with the next one and knows all others.
    #[test]
    fn takes_turns() {
        let dialer = dialer("http://host:1");
        let [a, b, c]: [SocketAddr; 3] = ["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
        for expected in [[a, b, c], [b, c, a], [c, a, b], [a, b, c]] {
            assert_eq!(dialer.in_turn(vec![a, b, c]), expected);
        }
    }

    /// Pauses double up to the longest, and up to half of each is chance; success forgets them.
    #[test]
    fn pauses_longer_and_longer() {
        let mut pause = Pause::default();
        let mut bound = FIRST_PAUSE;
        for _ in 0..40 {
            let wait = pause.fail("down".into());
            assert!((bound / 2..=bound).contains(&wait), "{wait:?} against {bound:?}");
            bound = (bound * 2).min(LONGEST_PAUSE);
        }
    }
}
