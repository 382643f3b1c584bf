//! Exports as they travel, right or wrong in every detail, and the answers to them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpStream;
use tonic_types::{Status, StatusExt as _};

use super::data::{Data, Signal};
use super::engine::Engine;
use super::within;

/// The three ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Grpc,
    /// HTTP with protobuf.
    Protobuf,
    /// HTTP with JSON.
    Json,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

/// Which HTTP a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// One export request that has not been sent.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    transport: Transport,
    signal: Signal,
    method: Method,
    path: String,
    headers: HeaderMap,
    /// Without the prefix of gRPC.
    body: Bytes,
    compressed: bool,
    version: Version,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    transport: Transport,
    signal: Signal,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    trailers: HeaderMap,
}

/// The classes of refusal, each with a code of gRPC and one of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// INVALID_ARGUMENT with BadRequest, 400.
    Invalid,
    /// RESOURCE_EXHAUSTED without RetryInfo, 413.
    TooLarge,
    /// UNAVAILABLE with RetryInfo, 503 with Retry-After of whole seconds.
    Later,
    /// UNIMPLEMENTED, 404.
    Unknown,
    /// UNIMPLEMENTED, 405.
    Method,
    /// UNIMPLEMENTED, 415.
    Unsupported,
    /// UNAUTHENTICATED, 401.
    Unauthenticated,
}

/// What a refusal says.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The field that a BadRequest names.
    pub(crate) field: Option<String>,
}

impl Transport {
    pub(crate) const ALL: [Self; 3] = [Self::Grpc, Self::Protobuf, Self::Json];
    pub(crate) const HTTP: [Self; 2] = [Self::Protobuf, Self::Json];
    /// Those that carry protobuf.
    pub(crate) const BINARY: [Self; 2] = [Self::Grpc, Self::Protobuf];

    pub(crate) fn encode(self, data: &Data) -> Vec<u8> {
        match self {
            Self::Grpc | Self::Protobuf => data.encode(),
            Self::Json => data.to_json(),
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn compress(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(content, 1).unwrap(),
        }
    }
}

impl Export {
    /// What a client would send.
    pub(crate) fn new(transport: Transport, data: &Data) -> Self {
        Self::raw(transport, data.signal(), transport.encode(data))
    }

    /// A client's request with any body.
    pub(crate) fn raw(transport: Transport, signal: Signal, body: impl Into<Bytes>) -> Self {
        let path = match (transport, signal) {
            (Transport::Grpc, Signal::Logs) => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            (Transport::Grpc, Signal::Metrics) => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            (Transport::Grpc, Signal::Traces) => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            (_, Signal::Logs) => "/v1/logs",
            (_, Signal::Metrics) => "/v1/metrics",
            (_, Signal::Traces) => "/v1/traces",
        };
        let version = if transport == Transport::Grpc { Version::Http2 } else { Version::Http1 };
        let export = Self {
            transport,
            signal,
            method: Method::POST,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: body.into(),
            compressed: false,
            version,
        };
        let export = export.header("content-type", transport.content_type());
        if transport == Transport::Grpc { export.header("te", "trailers") } else { export }
    }

    /// JSON text as a request over HTTP.
    pub(crate) fn json(signal: Signal, text: impl Into<String>) -> Self {
        Self::raw(Transport::Json, signal, text.into())
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Takes a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn over(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Says that the body is compressed, which it is not made by this.
    pub(crate) fn labelled(mut self, coding: &str) -> Self {
        self.compressed = true;
        let name = if self.transport == Transport::Grpc { "grpc-encoding" } else { "content-encoding" };
        self.header(name, coding)
    }

    /// Compresses the body.
    pub(crate) fn compressed(mut self, coding: Coding) -> Self {
        self.body = coding.compress(&self.body).into();
        self.labelled(coding.name())
    }

    /// Where an engine takes it.
    fn address(&self, engine: &Engine) -> SocketAddr {
        if self.transport == Transport::Grpc { engine.grpc() } else { engine.http() }
    }

    /// Sends it on a connection of its own and reads the answer.
    pub(crate) async fn send(self, engine: &Engine) -> Answer {
        let address = self.address(engine);
        self.send_to(address).await
    }

    /// The same to any address.
    pub(crate) async fn send_to(self, address: SocketAddr) -> Answer {
        let stream = TcpStream::connect(address).await.unwrap();
        let (transport, signal) = (self.transport, self.signal);
        let response = match self.version {
            Version::Http1 => {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                within("an answer", sender.send_request(self.request(address))).await
            }
            Version::Http2 => {
                let executor = TokioExecutor::new();
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                within("an answer", sender.send_request(self.request(address))).await
            }
        };
        Answer::read(transport, signal, response.unwrap()).await
    }

    /// As a request of hyper.
    pub(crate) fn request(self, address: SocketAddr) -> Request<Full<Bytes>> {
        let body = match self.transport {
            Transport::Grpc => grpc_message(u8::from(self.compressed), &self.body).into(),
            _ => self.body,
        };
        let target = match self.version {
            Version::Http1 => self.path,
            Version::Http2 => format!("http://{address}{}", self.path),
        };
        let mut request = Request::builder().method(self.method).uri(target).body(Full::new(body)).unwrap();
        *request.headers_mut() = self.headers;
        if self.version == Version::Http1 {
            request.headers_mut().insert("host", HeaderValue::try_from(address.to_string()).unwrap());
        }
        request
    }
}

/// A message with the prefix that gRPC puts before it.
pub(crate) fn grpc_message(flag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], content].concat()
}

impl Answer {
    /// Reads an answer to its end.
    pub(crate) async fn read(transport: Transport, signal: Signal, response: Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let collected = within("the end of an answer", body.collect()).await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { transport, signal, status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The number of `grpc-status`, wherever it stands.
    pub(crate) fn grpc_status(&self) -> Option<i32> {
        let value = self.headers.get("grpc-status").or_else(|| self.trailers.get("grpc-status"))?;
        value.to_str().unwrap().parse().ok()
    }

    /// Fails unless everything was taken, and `partial_success` is unset.
    #[track_caller]
    pub(crate) fn took_all(&self) {
        assert_eq!(self.success(), None, "a partial success: {self:?}");
    }

    /// The number of rejected records and the message of a partial success.
    #[track_caller]
    pub(crate) fn partial(&self) -> (i64, String) {
        self.success().unwrap_or_else(|| panic!("no partial success: {self:?}"))
    }

    /// What a success says of rejected records. Status, type and body must be right.
    #[track_caller]
    fn success(&self) -> Option<(i64, String)> {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.header("content-type"), Some(self.transport.content_type()), "{self:?}");
        match self.transport {
            Transport::Grpc => {
                assert_eq!(self.grpc_status(), Some(0), "{self:?}");
                let (prefix, message) = self.body.split_first_chunk::<5>().unwrap();
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
                assert_eq!((prefix[0], length as usize), (0, message.len()), "{self:?}");
                response(self.signal, message)
            }
            Transport::Protobuf => response(self.signal, &self.body),
            Transport::Json => json_response(self.signal, &self.body),
        }
    }

    /// Fails unless this is a refusal of that class in the form that its transport demands; returns what it says.
    #[track_caller]
    pub(crate) fn refused(&self, verdict: Verdict) -> Refusal {
        let status = match self.transport {
            Transport::Grpc => {
                assert_eq!(self.status, StatusCode::OK, "{self:?}");
                let code = self.grpc_status().unwrap_or_else(|| panic!("no grpc-status: {self:?}"));
                assert_eq!(tonic::Code::from(code), verdict.code(), "{self:?}");
                self.grpc_refusal()
            }
            Transport::Protobuf | Transport::Json => {
                assert_eq!(self.status.as_u16(), verdict.http(), "{self:?}");
                self.http_refusal(verdict)
            }
        };
        assert!(!status.message.is_empty(), "a refusal says why: {self:?}");
        if verdict == Verdict::Later {
            assert!(status.retry_after.is_some_and(|wait| !wait.is_zero()), "no wait is asked for: {self:?}");
        } else {
            assert_eq!(status.retry_after, None, "a refusal for good asks for no second try: {self:?}");
        }
        status
    }

    fn grpc_refusal(&self) -> Refusal {
        let mut all = self.headers.clone();
        all.extend(self.trailers.clone());
        let status = tonic::Status::from_header_map(&all).unwrap();
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let field = status.get_details_bad_request().map(|it| it.field_violations[0].field.clone());
        Refusal { message: status.message().to_owned(), retry_after: delay, field }
    }

    #[track_caller]
    fn http_refusal(&self, verdict: Verdict) -> Refusal {
        assert_eq!(self.header("content-type"), Some(self.transport.content_type()), "{self:?}");
        let retry_after = self.header("retry-after").map(|text| Duration::from_secs(text.parse().unwrap()));
        if self.transport == Transport::Json {
            let status: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
            assert_eq!(status["code"].as_i64(), Some(i64::from(verdict.code() as i32)), "{self:?}");
            return Refusal { message: status["message"].as_str().unwrap().to_owned(), retry_after, field: None };
        }
        let status = Status::decode(self.body.clone()).unwrap();
        assert_eq!(status.code, verdict.code() as i32, "{self:?}");
        // The body is what gRPC has in `grpc-status-details-bin`.
        let rich = tonic::Status::with_details(verdict.code(), status.message.clone(), self.body.clone());
        let field = rich.get_details_bad_request().map(|it| it.field_violations[0].field.clone());
        Refusal { message: status.message, retry_after, field }
    }
}

impl Verdict {
    fn code(self) -> tonic::Code {
        match self {
            Self::Invalid => tonic::Code::InvalidArgument,
            Self::TooLarge => tonic::Code::ResourceExhausted,
            Self::Later => tonic::Code::Unavailable,
            Self::Unknown | Self::Method | Self::Unsupported => tonic::Code::Unimplemented,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
        }
    }

    fn http(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::TooLarge => 413,
            Self::Later => 503,
            Self::Unknown => 404,
            Self::Method => 405,
            Self::Unsupported => 415,
            Self::Unauthenticated => 401,
        }
    }
}

/// The partial success of an `Export*ServiceResponse`.
fn response(signal: Signal, bytes: &[u8]) -> Option<(i64, String)> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    match signal {
        Signal::Logs => {
            let partial = ExportLogsServiceResponse::decode(bytes).unwrap().partial_success?;
            Some((partial.rejected_log_records, partial.error_message))
        }
        Signal::Metrics => {
            let partial = ExportMetricsServiceResponse::decode(bytes).unwrap().partial_success?;
            Some((partial.rejected_data_points, partial.error_message))
        }
        Signal::Traces => {
            let partial = ExportTraceServiceResponse::decode(bytes).unwrap().partial_success?;
            Some((partial.rejected_spans, partial.error_message))
        }
    }
}

/// The same of one in JSON, where the number is a text and 0 may be left out.
fn json_response(signal: Signal, bytes: &[u8]) -> Option<(i64, String)> {
    let response: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let partial = response.as_object().unwrap().get("partialSuccess")?;
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
    };
    let rejected = partial.get(name).map_or(0, |value| value.as_str().unwrap().parse().unwrap());
    Some((rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
}
