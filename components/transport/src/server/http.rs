//! OTLP/HTTP: `POST /v1/{logs,metrics,traces}` with protobuf or JSON bodies, over HTTP/1.1 and HTTP/2.
//!
//! Answers have the encoding of their request, and error bodies are `google.rpc.Status` (OTLP specification,
//! "OTLP/HTTP Response").

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::peer::Peer;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use prost::Message as _;

use crate::compression::Encoding;
use crate::proto::{ExportResponse, PartialSuccess, RpcStatus};
use crate::server::connection::Server;
use crate::server::reply::{Answer, Refused};
use crate::server::{self as server_api, Handler, Refusal, Reply, body, json, traced};
use crate::status::{Code, shorten};
use otlp::Signal;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ACCEPTED_TYPES: HeaderValue = HeaderValue::from_static("application/x-protobuf, application/json");
const ACCEPTED_ENCODINGS: &str = "gzip, zstd, snappy, x-snappy-framed, identity";

/// The codings of requests, in the order in which senders use them.
const ENCODINGS: [Encoding; 4] = [Encoding::Gzip, Encoding::Zstd, Encoding::Snappy, Encoding::SnappyFramed];

/// What is read and thrown away of a refused HTTP/1 body, so that its sender gets to read the answer: this much more than a
/// body may have, for so long. Closing with data unread would reset the connection under it.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// A request that is refused, with everything its answer says.
struct Failure {
    http: StatusCode,
    status: RpcStatus,
    reason: Refusal,
    header: Option<Box<(header::HeaderName, HeaderValue)>>,
}

/// The encodings of answers.
#[derive(Clone, Copy)]
enum MediaType {
    Protobuf,
    Json,
}

/// Answers one request.
pub(super) async fn serve<H: Handler>(
    server: &Server<H>,
    peer: &Arc<Peer>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let Some(cors) = server.cors() else { return serve_anybody(server, peer, request).await };
    if let Some(mut preflight) = cors.preflight(&request) {
        if !preflight.status().is_success() {
            server.counters().refuse(Refusal::Origin);
        }
        cors.describe(request.headers().get(header::ORIGIN), preflight.headers_mut());
        discard_rest(request, server.limits().max_request_size);
        return preflight;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = serve_anybody(server, peer, request).await;
    cors.describe(origin.as_ref(), response.headers_mut());
    response
}

async fn serve_anybody<H: Handler>(
    server: &Server<H>,
    peer: &Arc<Peer>,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let media_type = media_type_of(request.headers());
    let response = match export(server, peer, &mut request, media_type).await {
        Ok((signal, reply)) => {
            server.counters().answer(&reply);
            let response = respond(signal, &reply, media_type.unwrap_or(MediaType::Protobuf));
            traced::end_http(&mut request, Ok(&reply), response.status(), reply.message());
            response
        }
        Err(failure) => {
            server.counters().refuse(failure.reason);
            traced::end_http(&mut request, Err(failure.reason), failure.http, &failure.status.message);
            // Whoever speaks neither of our languages gets protobuf.
            fail(failure, media_type.unwrap_or(MediaType::Protobuf))
        }
    };
    discard_rest(request, server.limits().max_request_size);
    response
}

async fn export<H: Handler>(
    server: &Server<H>,
    peer: &Arc<Peer>,
    request: &mut Request<Incoming>,
    media_type: Option<MediaType>,
) -> Result<(Signal, Reply), Failure> {
    if request.headers().len() > server.limits().max_headers {
        let http = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Failure::unsupported(http, "too many headers".to_owned()));
    }
    if let Some(auth) = server.auth()
        && let Err(denied) = auth.admit(request.headers()).await
    {
        return Err(Failure::from(Refused::from(denied)).with_header(header::WWW_AUTHENTICATE, auth.challenge()));
    }
    let path = request.uri().path();
    let signal = signal_of(path)
        .ok_or_else(|| Failure::unsupported(StatusCode::NOT_FOUND, format!("unknown path {}", shorten(path))))?;
    if request.method() != Method::POST {
        let message = format!("method {} is not allowed, use POST", shorten(request.method().as_str()));
        return Err(Failure::unsupported(StatusCode::METHOD_NOT_ALLOWED, message)
            .with_header(header::ALLOW, HeaderValue::from_static("POST")));
    }
    let Some(media_type) = media_type else {
        let message = "unsupported content type, supported are application/x-protobuf and application/json".to_owned();
        return Err(Failure::unsupported(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
            .with_header(header::ACCEPT, ACCEPTED_TYPES));
    };
    let encoding = encoding_of(request.headers())?;
    traced::http(server.tracer(), request, signal, server.scheme());
    let reading = server.reading();
    let mut received = body::read_http(request.body_mut(), encoding, reading).await.map_err(Refused::from)?;
    let mut snake_case = None;
    if let MediaType::Json = media_type {
        (received, snake_case) = Box::pin(json::read(signal, received, reading)).await.map_err(Refused::from)?;
    }
    let span = traced::received(request, &received);
    let body::Received { body, charge, wire_bytes } = received;
    let request = server_api::Request { signal, body, charge, peer: Arc::clone(peer), wire_bytes, snake_case, span };
    Ok((signal, server.handler.handle(request).await))
}

fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/v1/logs" => Some(Signal::Logs),
        "/v1/metrics" => Some(Signal::Metrics),
        "/v1/traces" => Some(Signal::Traces),
        _ => None,
    }
}

/// The media type of the request without its parameters; types other than ours are `None`.
fn media_type_of(headers: &HeaderMap) -> Option<MediaType> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let name = value.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/x-protobuf") {
        return Some(MediaType::Protobuf);
    }
    name.eq_ignore_ascii_case("application/json").then_some(MediaType::Json)
}

/// The content coding of the request. Several of them, one in the other, are how bombs are built; nobody sends them.
fn encoding_of(headers: &HeaderMap) -> Result<Option<Encoding>, Failure> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let name = values.next().map_or(Some("identity"), |value| value.to_str().ok()).unwrap_or_default().trim();
    let is_nested = values.next().is_some();
    if !is_nested && name.eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    match ENCODINGS.into_iter().find(|encoding| !is_nested && name.eq_ignore_ascii_case(encoding.name())) {
        Some(encoding) => Ok(Some(encoding)),
        None => {
            let message = format!("unsupported content encoding {}, supported are {ACCEPTED_ENCODINGS}", shorten(name));
            Err(Failure::unsupported(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
                .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_ENCODINGS)))
        }
    }
}

impl Failure {
    fn unsupported(http: StatusCode, message: String) -> Self {
        let status = RpcStatus::new(Code::Unimplemented, &message);
        Self { http, status, reason: Refusal::Unsupported, header: None }
    }

    fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let mut failure = failure_of(&refused.reply).expect("a refused request has no success to report");
        failure.reason = refused.reason;
        if refused.reason == Refusal::Timeout {
            failure.http = StatusCode::REQUEST_TIMEOUT;
            failure.status = RpcStatus::new(Code::DeadlineExceeded, refused.reply.message());
            failure = failure.with_header(header::CONNECTION, HeaderValue::from_static("close"));
        }
        failure
    }
}

/// How a handler's refusal looks; `None` for success.
fn failure_of(reply: &Reply) -> Option<Failure> {
    let status = reply.status()?;
    let reason = reply.refusal()?;
    let (http, header) = match reply {
        Reply::Accepted | Reply::Partial { .. } => return None,
        Reply::Invalid { .. } => (StatusCode::BAD_REQUEST, None),
        Reply::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Reply::Unavailable { retry_after, .. } => {
            // Whole seconds, at least one: 0 would invite a storm, and a fraction is not allowed.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            (StatusCode::SERVICE_UNAVAILABLE, Some((header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))))
        }
        Reply::Unauthorized { .. } => {
            let challenge = HeaderValue::from_static("Bearer");
            (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, challenge)))
        }
        Reply::Unsupported { .. } => (StatusCode::NOT_FOUND, None),
    };
    Some(Failure { http, status, reason, header: header.map(Box::new) })
}

fn respond(signal: Signal, reply: &Reply, media_type: MediaType) -> Response<Answer> {
    let partial_success = match reply {
        Reply::Accepted => None,
        Reply::Partial { rejected, message } => Some((*rejected, message.as_str())),
        _ => {
            let failure = failure_of(reply).expect("every reply but the two above is a refusal");
            return fail(failure, media_type);
        }
    };
    let (content_type, data) = match media_type {
        MediaType::Json => (JSON, Some(json::export_response(signal, partial_success).into())),
        MediaType::Protobuf => (PROTOBUF, partial_success.map(protobuf_response)),
    };
    let mut response = Response::new(Answer { data, trailers: None });
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn protobuf_response((rejected, message): (u64, &str)) -> Bytes {
    let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
    let partial_success = Some(PartialSuccess { rejected, error_message: shorten(message).into_owned() });
    ExportResponse { partial_success }.encode_to_vec().into()
}

fn fail(failure: Failure, media_type: MediaType) -> Response<Answer> {
    let (content_type, data) = match media_type {
        MediaType::Protobuf => (PROTOBUF, Bytes::from(failure.status.encode_to_vec())),
        MediaType::Json => (JSON, Bytes::from(json::status(&failure.status))),
    };
    let mut response = Response::new(Answer { data: Some(data), trailers: None });
    *response.status_mut() = failure.http;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if let Some(header) = failure.header {
        let (name, value) = *header;
        response.headers_mut().insert(name, value);
    }
    response
}

/// Reads on what an HTTP/1 client still sends of a refused body, within bounds, while the answer goes out. A client
/// that waits for `100 Continue` sends nothing, and HTTP/2 resets the one stream.
fn discard_rest(request: Request<Incoming>, max_size: usize) {
    let expects_continue = request.headers().contains_key(header::EXPECT);
    if request.version() == Version::HTTP_2 || expects_continue || request.body().is_end_stream() {
        return;
    }
    let mut rest = request.into_body();
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move {
        let mut discarded = 0;
        while discarded < max_size.saturating_add(DISCARD_BYTES) {
            match body::next_data(&mut rest).await {
                Ok(Some(data)) => discarded += data.len(),
                Ok(None) | Err(_) => return,
            }
        }
    }));
}
