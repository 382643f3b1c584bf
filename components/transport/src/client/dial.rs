//! From an endpoint to a connection that takes requests: resolve, connect, through a proxy or not, TLS, HTTP handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::uri::Scheme;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::Protocol;
use crate::client::addresses::{Addresses, Resolution};
use crate::client::handshake::{self, Dialed, Misfit};
use crate::client::proxy::Tunnel;
use crate::client::spread::Members;
use crate::client::{ClientError, ClientOptions, describe};
use crate::tls::{ClientTls, ClientTlsOptions};

/// The next address is tried when the one before has not answered for this long (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Bounds of the pause between failed dials of one client, over all its lanes.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Dials one endpoint.
pub(super) struct Dialer {
    host: String,
    port: u16,
    /// Those of the proxy, if there is one: it resolves the endpoint's name itself.
    addresses: Arc<Addresses>,
    tunnel: Option<Tunnel>,
    protocol: Protocol,
    tls: Option<(ClientTls, ServerName<'static>)>,
    timeout: Duration,
    misfit: Misfit,
    pause: Mutex<Pause>,
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
        let proxy = options.proxy.as_ref().map(|proxy| proxy.checked()).transpose()?;
        let (next_host, next_port, tunnel) = match proxy {
            Some((proxy_host, proxy_port, tunnel)) => (proxy_host, proxy_port, Some(tunnel)),
            None => (host.clone(), port, None),
        };
        let timeout = options.connect_timeout;
        let resolution = Resolution { resolver: Arc::clone(&options.resolver), every: options.resolve_every, timeout };
        let members = options.spread.clone().map(Members::new);
        let addresses = Arc::new(Addresses::new(next_host, next_port, resolution, members));
        let protocol = options.protocol;
        Ok(Self {
            host,
            port,
            addresses,
            tunnel,
            protocol,
            tls,
            timeout,
            misfit: Misfit::default(),
            pause: Mutex::default(),
        })
    }

    /// The addresses that are dialled.
    pub(super) fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// What was wrong with the last peer, when it spoke something else than expected.
    pub(super) fn misfit(&self) -> Option<Arc<str>> {
        self.misfit.get()
    }

    /// How long one dial may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether connections are known to speak HTTP/1 before one was made.
    pub(super) fn speaks_http1(&self) -> bool {
        self.protocol == Protocol::Http && self.tls.is_none()
    }

    /// Makes a connection to `only` this address or else to any, or says at once that the last failure is too fresh.
    pub(super) async fn dial(&self, only: Option<SocketAddr>) -> Result<Dialed, DialError> {
        if only.is_none() {
            self.check_pause()?;
        }
        let error = match tokio::time::timeout(self.timeout, self.connect(only)).await {
            Ok(Ok(connection)) => {
                match (only, self.addresses.members()) {
                    (Some(address), Some(members)) => members.is_back(address),
                    _ => *self.pause() = Pause::default(),
                }
                return Ok(connection);
            }
            Ok(Err(error)) => error,
            Err(_) => self.too_slow(),
        };
        self.addresses.look_soon();
        let (Some(address), Some(members)) = (only, self.addresses.members()) else { return Err(self.failed(&error)) };
        let problem = self.problem(&error);
        members.failed(address, Arc::clone(&problem));
        Err(DialError { problem, retry_after: None })
    }

    /// Resolves the name before anything is dialled.
    pub(super) async fn first_look(&self) -> Result<(), DialError> {
        self.check_pause()?;
        match tokio::time::timeout(self.timeout, self.addresses.first_look()).await {
            Ok(looked) => looked.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.failed(&self.too_slow())),
        }
    }

    fn too_slow(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("not connected within {:?}", self.timeout))
    }

    fn failed(&self, error: &io::Error) -> DialError {
        let problem = self.problem(error);
        let wait = self.pause().fail(Arc::clone(&problem));
        DialError { problem, retry_after: Some(wait) }
    }

    fn problem(&self, error: &io::Error) -> Arc<str> {
        format!("cannot connect to {}:{}: {}", self.host, self.port, describe(error)).into()
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().expect("nothing panics while it holds the lock")
    }

    fn check_pause(&self) -> Result<(), DialError> {
        match &self.pause().until {
            Some((until, problem)) if *until > Instant::now() => {
                let left = until.duration_since(Instant::now());
                Err(DialError { problem: Arc::clone(problem), retry_after: Some(left) })
            }
            _ => Ok(()),
        }
    }

    async fn connect(&self, only: Option<SocketAddr>) -> io::Result<Dialed> {
        let addresses = match only {
            Some(address) => vec![address],
            None => self.addresses.in_turn().await?,
        };
        let mut socket = connect_any(addresses).await?;
        socket.set_nodelay(true)?;
        if let Some(tunnel) = &self.tunnel {
            tunnel.open(&mut socket, &self.host, self.port).await?;
        }
        let misfit = self.misfit.clone();
        let Some((tls, name)) = &self.tls else {
            return match self.protocol {
                Protocol::Grpc => handshake::http2(socket, misfit).await,
                Protocol::Http => handshake::http1(socket, misfit).await,
            };
        };
        let connector = TlsConnector::from(tls.config_for(self.protocol).await);
        let stream = connector.connect(name.clone(), socket).await.map_err(handshake::explained)?;
        let offered_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match self.protocol {
            // Some gRPC servers do not negotiate and speak HTTP/2 all the same.
            Protocol::Grpc => handshake::http2(stream, misfit).await,
            Protocol::Http if offered_http2 => handshake::http2(stream, misfit).await,
            Protocol::Http => handshake::http1(stream, misfit).await,
        }
    }
}

/// The first address that answers. A silent one does not hold up the next.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
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

    /// No address is to be dialled before a moment, for the reason that the first of them gave.
    pub(super) fn until(moment: Instant, problem: Arc<str>) -> Self {
        Self { problem, retry_after: Some(moment.saturating_duration_since(Instant::now())) }
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
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let (first, second) = (refusing_address().await, refusing_address().await);
        let socket = connect_any(vec![first, second, good]).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), good);
        let error = connect_any(vec![first, second]).await.unwrap_err();
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
        assert_eq!(dialer("http://[::1]:7").addresses.in_turn().await.unwrap(), ["[::1]:7".parse().unwrap()]);
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
