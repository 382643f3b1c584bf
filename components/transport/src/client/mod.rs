//! OTLP clients: send one rope as one export request, and say by the OTLP rules what became of it.
//!
//! Each lane has its own connections, made when first needed, so that a batch leaves on the thread it arrived on.
//! Trying again, queueing and splitting are the sink driver's matter; the one repetition made here is of a request
//! that demonstrably never left this process.

mod addresses;
mod body;
mod dial;
mod grpc;
mod handshake;
mod http;
mod json;
mod pool;
mod proxy;
mod redact;
mod response;
mod spread;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HeaderName, HeaderValue};
use ::http::{Request, Uri};
use bytes::Buf;
use engine_core::outcome::{Outcome, RejectionKind};
use hyper::body::Incoming;

pub use crate::client::addresses::{Resolve, SystemResolver};
use crate::client::body::RequestBody;
use crate::client::pool::{Connection, Pool};
pub use crate::client::proxy::{HeaderSource, Proxy};
pub use crate::client::spread::Spread;
use crate::tls::ClientTls;
use otlp::{Rope, Signal};

use crate::{Compression, Protocol};

/// Where and how to send.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `http://` or `https://`, host, port. For OTLP/HTTP its path is put before `/v1/logs` and so on.
    pub endpoint: Uri,
    /// gRPC or HTTP.
    pub protocol: Protocol,
    /// What bodies are that are sent over HTTP. gRPC takes protobuf only.
    pub encoding: BodyEncoding,
    /// How requests are compressed.
    pub compression: Compression,
    /// Added to every request. Mark secrets with [`HeaderValue::set_sensitive`].
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Time for one request from connecting to the end of its answer.
    pub timeout: Duration,
    /// Time to resolve, connect and shake hands.
    pub connect_timeout: Duration,
    /// Trust and identity for `https://`; without, the system's and the bundled roots are trusted.
    pub tls: Option<ClientTls>,
    /// The `user-agent` header.
    pub user_agent: String,
    /// Full paths that replace the default ones of OTLP/HTTP, by signal.
    pub paths: Paths,
    /// Most bytes read of an answer, after inflating.
    pub max_response_size: usize,
    /// A connection older than this, 10 % more or less, takes no new requests. `None`: never.
    pub max_connection_age: Option<Duration>,
    /// The way to the endpoint, if it is not direct. The proxy resolves the endpoint's name.
    pub proxy: Option<Proxy>,
    /// To which addresses of the endpoint's name there are connections. `None`: each connection goes to the next address.
    pub spread: Option<Spread>,
    /// Who resolves names.
    pub resolver: Arc<dyn Resolve>,
    /// How often a name is resolved again while connections live. When the set of its addresses has changed, connections
    /// are dealt anew.
    pub resolve_every: Duration,
}

/// What the bodies of OTLP/HTTP requests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEncoding {
    /// Protobuf.
    #[default]
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// Paths of OTLP/HTTP that differ from `/v1/{logs,metrics,traces}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// For log records.
    pub logs: Option<String>,
    /// For metrics.
    pub metrics: Option<String>,
    /// For spans.
    pub traces: Option<String>,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is not usable.
    #[error("endpoint {endpoint}: {problem}")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A header value or a path is not valid.
    #[error("{what} is not valid: {value}")]
    Invalid {
        /// What it was meant for.
        what: &'static str,
        /// The offending text.
        value: String,
    },
    /// Certificates could not be loaded.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

/// Sends export requests to one endpoint. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    endpoint: String,
    heads: [Head; 3],
    pool: Arc<Pool>,
}

/// The request of one signal without its body, in the two forms that HTTP versions want.
struct Head {
    /// Absolute target: HTTP/2.
    absolute: Request<()>,
    /// Path only, with a `host` header: HTTP/1.
    relative: Request<()>,
}

impl ClientOptions {
    /// The defaults: no compression, 10 s for a request, answers of at most 4 MiB.
    pub fn new(endpoint: Uri, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            encoding: BodyEncoding::default(),
            compression: Compression::None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            tls: None,
            user_agent: concat!("telemetry-engine/", env!("CARGO_PKG_VERSION")).to_owned(),
            paths: Paths::default(),
            max_response_size: 4 * 1024 * 1024,
            max_connection_age: None,
            proxy: None,
            spread: None,
            resolver: Arc::new(SystemResolver),
            resolve_every: Duration::from_secs(30),
        }
    }
}

impl Client {
    /// Checks the options and loads trust roots. Connects to nothing yet.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let pool = Arc::new(Pool::new(&options)?);
        Self::over(pool, options)
    }

    /// The same client with other headers. Both use the same connections.
    ///
    /// # Errors
    ///
    /// None that the first client did not have.
    pub fn with_headers(&self, headers: Vec<(HeaderName, HeaderValue)>) -> Result<Self, ClientError> {
        Self::over(Arc::clone(&self.0.pool), ClientOptions { headers, ..self.0.options.clone() })
    }

    /// The same client with one more header, over the same connections.
    ///
    /// # Errors
    ///
    /// None that the first client did not have.
    pub fn with_header(&self, name: HeaderName, value: HeaderValue) -> Result<Self, ClientError> {
        let mut headers = self.0.options.headers.clone();
        headers.push((name, value));
        self.with_headers(headers)
    }

    fn over(pool: Arc<Pool>, options: ClientOptions) -> Result<Self, ClientError> {
        let heads = Signal::ALL.map(|signal| match options.protocol {
            Protocol::Grpc => grpc::head(&options, signal),
            Protocol::Http => http::head(&options, signal),
        });
        let [logs, metrics, traces] = heads;
        let heads = [logs?, metrics?, traces?];
        let endpoint = options.endpoint.to_string();
        Ok(Self(Arc::new(Inner { options, endpoint, heads, pool })))
    }

    /// Sends one `Export*ServiceRequest`, in the encoding of the options, and reads its answer. Makes one attempt; dropping the future takes the
    /// request back.
    pub async fn export(&self, signal: Signal, body: impl Buf) -> Outcome {
        let mut used = None;
        let attempt = self.attempt(signal, body, &mut used);
        if let Ok(outcome) = tokio::time::timeout(self.0.options.timeout, attempt).await {
            return redact::outcome(outcome, &self.0.options.headers);
        }
        if let Some(connection) = used {
            self.0.pool.suspect(connection);
        }
        Outcome::retry(format!("no answer from {} within {:?}", self.0.endpoint, self.0.options.timeout))
    }

    async fn attempt(&self, signal: Signal, mut body: impl Buf, used: &mut Option<pool::InUse>) -> Outcome {
        let mut rope = match self.framed(&mut body).await {
            Ok(rope) => rope,
            Err(outcome) => return outcome,
        };
        drop(body);
        let head = &self.0.heads[signal.index()];
        let mut may_repeat = true;
        loop {
            let mut connection = match self.0.pool.take().await {
                Ok(connection) => connection,
                Err(error) => return Outcome::Retry { after: error.retry_after(), reason: error.to_string() },
            };
            *used = connection.in_use();
            let template = if connection.is_http2() { &head.absolute } else { &head.relative };
            let request = template.clone().map(|()| RequestBody::new(rope));
            match connection.send(request).await {
                Ok(response) => return self.read(response, connection).await,
                Err(mut error) => match error.take_message() {
                    // The connection was closed before the request was written.
                    Some(unsent) if may_repeat => {
                        may_repeat = false;
                        rope = unsent.into_body().into_rope();
                    }
                    _ => return Outcome::retry(self.problem(error.error())),
                },
            }
        }
    }

    /// Why a request got no answer.
    fn problem(&self, error: &hyper::Error) -> String {
        let text = format!("{}: {}", self.0.endpoint, describe(error));
        match self.0.pool.misfit() {
            Some(misfit) if !text.contains(&*misfit) => format!("{text}: {misfit}"),
            _ => text,
        }
    }

    async fn read(&self, response: ::http::Response<Incoming>, connection: Connection) -> Outcome {
        let (outcome, complete) = match self.0.options.protocol {
            Protocol::Grpc => response::read_grpc(response, self.0.options.max_response_size).await,
            Protocol::Http => response::read_http(response, self.0.options.max_response_size).await,
        };
        if complete {
            self.0.pool.give_back(connection);
        }
        outcome
    }

    async fn framed(&self, body: &mut impl Buf) -> Result<Rope, Outcome> {
        match self.0.options.protocol {
            Protocol::Grpc => grpc::frame(self.0.options.compression, body).await,
            Protocol::Http => http::frame(self.0.options.compression, body).await,
        }
        .map_err(|error| Outcome::rejected(RejectionKind::Invalid, format!("cannot compress a request: {error}")))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

/// Fills both forms of a request head.
fn head(options: &ClientOptions, path: &str, fixed: &[(HeaderName, HeaderValue)]) -> Result<Head, ClientError> {
    let invalid = |what: &'static str, value: &str| ClientError::Invalid { what, value: value.to_owned() };
    let authority = options
        .endpoint
        .authority()
        .ok_or_else(|| ClientError::Endpoint { endpoint: options.endpoint.to_string(), problem: "it names no host" })?;
    let relative: Uri = path.parse().map_err(|_| invalid("path", path))?;
    let mut parts = options.endpoint.clone().into_parts();
    parts.path_and_query = relative.path_and_query().cloned();
    let absolute = Uri::from_parts(parts).map_err(|_| invalid("path", path))?;
    let user_agent =
        HeaderValue::try_from(&options.user_agent).map_err(|_| invalid("user agent", &options.user_agent))?;
    let host = HeaderValue::try_from(authority.as_str()).map_err(|_| invalid("host", authority.as_str()))?;
    let build = |uri: Uri| {
        let mut request = Request::post(uri).body(()).expect("a method and a valid URI make a request");
        let headers = request.headers_mut();
        headers.extend(options.headers.iter().cloned().map(|(name, value)| (Some(name), value)));
        headers.insert(::http::header::USER_AGENT, user_agent.clone());
        for (name, value) in fixed {
            headers.insert(name, value.clone());
        }
        request
    };
    let mut head = Head { absolute: build(absolute), relative: build(relative) };
    head.relative.headers_mut().entry(::http::header::HOST).or_insert(host);
    Ok(head)
}

/// An error with the errors that caused it: hyper's own text alone says little.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
