//! A server for OTLP over gRPC and HTTP whose every answer is decided by somebody: the oracle, who says yes to everything, or
//! a script of answers that a backend should not give.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use tokio::net::TcpListener;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::oracle::Oracle;

/// Bytes of the gRPC length prefix.
const PREFIX: usize = 5;

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Success.
    Success,
    /// Success but for so many records.
    Partial(i64),
    /// A gRPC status, with `RetryInfo` of so long where there is a time.
    Grpc(i32, Option<std::time::Duration>),
    /// An HTTP status, with `Retry-After` of so many seconds where there is a number.
    Http(u16, Option<u64>),
    /// HTTP 200 with a body that is no OTLP.
    Garbage,
    /// HTTP 200 with a page, as a proxy in between shows it.
    Html,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP with protobuf.
    Http,
}

/// Decides what a message is answered with.
pub type Decide = Arc<dyn Fn(Protocol, &[u8]) -> Reply + Send + Sync>;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A backend that takes everything into the oracle.
///
/// # Errors
/// When no socket can be bound.
pub async fn serve_oracle(oracle: &Oracle) -> std::io::Result<SocketAddr> {
    serve(into(oracle)).await
}

/// The same on a socket that listens already, somewhere else perhaps.
pub fn serve_oracle_at(oracle: &Oracle, listener: TcpListener) {
    accept(listener, into(oracle));
}

fn into(oracle: &Oracle) -> Decide {
    let oracle = oracle.clone();
    Arc::new(move |_, message| match oracle.take(message) {
        Ok(()) => Reply::Success,
        Err(_) => Reply::Grpc(tonic::Code::InvalidArgument as i32, None),
    })
}

/// Serves on a free loopback port for as long as the runtime lives.
///
/// # Errors
/// When no socket can be bound.
pub async fn serve(decide: Decide) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    accept(listener, decide);
    Ok(address)
}

fn accept(listener: TcpListener, decide: Decide) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that is gone already ends with its first read.
            stream.set_nodelay(true).ok();
            let decide = Arc::clone(&decide);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, Arc::clone(&decide)));
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // What a client did not send to its end shows in what came.
                server.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
}

async fn answer(request: Request<Incoming>, decide: Decide) -> Result<Response<Body>, hyper::Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let is_grpc = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let mut body = request.into_body().collect().await?.aggregate();
    let body = body.copy_to_bytes(body.remaining());
    let (protocol, message) =
        if is_grpc { (Protocol::Grpc, body.get(PREFIX..).unwrap_or_default()) } else { (Protocol::Http, &body[..]) };
    let reply = decide(protocol, message);
    Ok(if is_grpc { grpc(&reply) } else { http(&reply) })
}

fn grpc(reply: &Reply) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    let status = match reply {
        Reply::Success => return framed(&ExportLogsServiceResponse::default().encode_to_vec()),
        Reply::Partial(rejected) => return framed(&partial(*rejected)),
        Reply::Garbage => return framed(b"\xff\xff\xff\xff"),
        Reply::Http(..) | Reply::Html => return http(reply),
        Reply::Grpc(code, None) => tonic::Status::new((*code).into(), "as the script says"),
        Reply::Grpc(code, Some(delay)) => {
            let details = ErrorDetails::with_retry_info(Some(*delay));
            tonic::Status::with_error_details((*code).into(), "as the script says", details)
        }
    };
    let mut response = response.body(Full::default().boxed_unsync()).expect("the head is valid");
    status.add_header(response.headers_mut()).expect("the status is valid");
    response
}

/// An answer of gRPC with a message, and success behind it.
fn framed(message: &[u8]) -> Response<Body> {
    let length = u32::try_from(message.len()).expect("answers are short");
    let data: Bytes = [&[0][..], &length.to_be_bytes(), message].concat().into();
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(data).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
    Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body).expect("the head is valid")
}

fn http(reply: &Reply) -> Response<Body> {
    let protobuf = "application/x-protobuf";
    let (status, kind, body) = match reply {
        Reply::Success => (200, protobuf, Bytes::new()),
        Reply::Partial(rejected) => (200, protobuf, partial(*rejected).into()),
        Reply::Garbage => (200, protobuf, Bytes::from_static(b"\xff\xff\xff\xff")),
        Reply::Html => (200, "text/html", Bytes::from_static(b"<html><body>Please log in</body></html>")),
        Reply::Http(status, _) => (*status, "text/plain", Bytes::from_static(b"as the script says")),
        Reply::Grpc(..) => (500, "text/plain", Bytes::from_static(b"a status of gRPC")),
    };
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    if let Reply::Http(_, Some(seconds)) = reply {
        response = response.header(header::RETRY_AFTER, *seconds);
    }
    response.body(Full::new(body).boxed_unsync()).expect("the head is valid")
}

fn partial(rejected_log_records: i64) -> Vec<u8> {
    let partial = ExportLogsPartialSuccess { rejected_log_records, error_message: "as the script says".to_owned() };
    ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}
