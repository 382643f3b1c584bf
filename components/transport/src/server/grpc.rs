//! OTLP/gRPC: the unary `Export` calls of the three collector services, on raw messages.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use engine_core::peer::Peer;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use prost::Message as _;

use crate::compression::Encoding;
use crate::proto::{ExportResponse, PartialSuccess, RpcStatus};
use crate::server::connection::Server;
use crate::server::reply::{Answer, Refused};
use crate::server::{self as server_api, Handler, Refusal, Reply, body, traced};
use crate::status::{Code, message_to_header, shorten};
use otlp::Signal;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ACCEPTED_ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd,snappy");

/// A success message: an empty `Export*ServiceResponse` with its gRPC prefix.
static EMPTY_RESPONSE: [u8; 5] = [0; 5];

/// Answers one call.
pub(super) async fn serve<H: Handler>(
    server: &Server<H>,
    peer: &Arc<Peer>,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    if let Some(status) = refuse_non_grpc(&request, server.limits().max_headers) {
        server.counters().refuse(Refusal::Unsupported);
        return plain(status);
    }
    match export(server, peer, &mut request).await {
        Ok(reply) => {
            server.counters().answer(&reply);
            traced::end_grpc(&mut request, Ok(&reply), || (code_of(&reply), reply.message()));
            respond(&reply)
        }
        Err(refused) => {
            server.counters().refuse(refused.reason);
            let is_late = refused.reason == Refusal::Timeout;
            let code = || if is_late { Code::DeadlineExceeded } else { code_of(&refused.reply) };
            traced::end_grpc(&mut request, Err(refused.reason), || (code(), refused.reply.message()));
            match refused.reason {
                Refusal::Timeout => failure(&RpcStatus::new(code(), refused.reply.message())),
                _ => respond(&refused.reply),
            }
        }
    }
}

fn code_of(reply: &Reply) -> Code {
    reply.status().map_or(Code::Ok, |status| Code::from_number(status.code.into()))
}

async fn export<H: Handler>(
    server: &Server<H>,
    peer: &Arc<Peer>,
    request: &mut Request<Incoming>,
) -> Result<Reply, Refused> {
    if let Some(auth) = server.auth() {
        auth.admit(request.headers()).await.map_err(Refused::from)?;
    }
    let signal = signal_of(request.uri().path()).ok_or_else(|| Refused {
        reply: Reply::Unsupported { message: format!("unknown method {}", shorten(request.uri().path())) },
        reason: Refusal::Unsupported,
    })?;
    let encoding = encoding_of(request.headers())?;
    traced::grpc(server.tracer(), request, signal);
    let received = body::read_grpc(request.body_mut(), encoding, server.reading()).await?;
    let span = traced::received(request, &received);
    let body::Received { body, charge, wire_bytes } = received;
    let request =
        server_api::Request { signal, body, charge, peer: Arc::clone(peer), wire_bytes, snake_case: None, span };
    Ok(server.handler.handle(request).await)
}

/// The signal of an OTLP method path.
fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        _ => None,
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Option<Encoding>, Refused> {
    let mut values = headers.get_all(GRPC_ENCODING).iter();
    let name = values.next().map_or(&b"identity"[..], HeaderValue::as_bytes);
    match (name, values.next()) {
        (b"identity", None) => Ok(None),
        (b"gzip", None) => Ok(Some(Encoding::Gzip)),
        (b"zstd", None) => Ok(Some(Encoding::Zstd)),
        (b"snappy", None) => Ok(Some(Encoding::Snappy)),
        _ => Err(Refused {
            reply: Reply::Unsupported {
                message: format!("unsupported grpc-encoding {}", shorten(&String::from_utf8_lossy(name))),
            },
            reason: Refusal::Unsupported,
        }),
    }
}

/// The HTTP status for what is no gRPC call at all (gRPC over HTTP/2, "Requests").
fn refuse_non_grpc(request: &Request<Incoming>, max_headers: usize) -> Option<StatusCode> {
    if request.version() != Version::HTTP_2 {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    if request.headers().len() > max_headers {
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if request.method() != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = content_type.strip_prefix(b"application/grpc");
    let is_protobuf = rest.is_some_and(|rest| {
        let subtype = rest.strip_prefix(b"+proto").unwrap_or(rest);
        subtype.is_empty() || subtype.starts_with(b";")
    });
    (!is_protobuf).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

fn respond(reply: &Reply) -> Response<Answer> {
    let data = match reply {
        Reply::Accepted => Bytes::from_static(&EMPTY_RESPONSE),
        Reply::Partial { rejected, message } => partial_response(*rejected, message),
        _ => {
            let status = reply.status().expect("every reply but the two above is a refusal");
            return failure(&status);
        }
    };
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, Code::Ok.to_header());
    let mut response = Response::new(Answer { data: Some(data), trailers: Some(trailers) });
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

fn partial_response(rejected: u64, message: &str) -> Bytes {
    let response = ExportResponse {
        partial_success: Some(PartialSuccess {
            rejected: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: shorten(message).into_owned(),
        }),
    };
    let length = response.encoded_len();
    let mut message_bytes = BytesMut::with_capacity(EMPTY_RESPONSE.len() + length);
    message_bytes.put_u8(0);
    message_bytes.put_u32(u32::try_from(length).expect("messages are shortened"));
    response.encode(&mut message_bytes).expect("room for the message was reserved");
    message_bytes.freeze()
}

/// An answer without a message, its status in the headers ("Trailers-Only").
fn failure(status: &RpcStatus) -> Response<Answer> {
    let code = Code::from_number(i64::from(status.code));
    let mut response = Response::new(Answer::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS, code.to_header());
    headers.insert(GRPC_MESSAGE, message_to_header(&status.message));
    if !status.details.is_empty() {
        headers.insert(GRPC_DETAILS, status.to_details_header());
    }
    if code == Code::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING, ACCEPTED_ENCODINGS);
    }
    response
}

fn plain(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::default());
    *response.status_mut() = status;
    if status == StatusCode::HTTP_VERSION_NOT_SUPPORTED {
        let hint = "this port speaks OTLP/gRPC over HTTP/2; OTLP/HTTP is served on another port\n";
        response.body_mut().data = Some(Bytes::from_static(hint.as_bytes()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
