//! One request on a connection of its own, and the whole of its answer: attacks look at statuses that ordinary clients
//! do not tell apart.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::signal::Signal;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What an attack sends.
#[derive(Debug, Clone)]
pub struct Body {
    /// What it claims to be.
    pub signal: Signal,
    /// The name of its compression, if it has one.
    pub encoding: Option<&'static str>,
    /// Its media type over HTTP.
    pub media_type: &'static str,
    /// The bytes, without the prefix of gRPC.
    pub bytes: Bytes,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With success.
    Accepted,
    /// With a refusal after which a client comes again.
    Retryable,
    /// With a refusal for good.
    Refused,
}

/// Sends over gRPC.
///
/// # Errors
/// When there is no answer of gRPC.
pub async fn over_grpc(target: SocketAddr, body: &Body) -> Result<Answer> {
    let mut framed = Vec::with_capacity(body.bytes.len() + 5);
    framed.push(u8::from(body.encoding.is_some()));
    framed.extend_from_slice(&u32::try_from(body.bytes.len())?.to_be_bytes());
    framed.extend_from_slice(&body.bytes);
    let stream = TcpStream::connect(target).await?;
    let (mut requests, connection) = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{target}{}", body.signal.path()))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(encoding) = body.encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let answered = async {
        let response = requests.send_request(request.body(Full::new(Bytes::from(framed)))?).await?;
        let (parts, received) = response.into_parts();
        let collected = received.collect().await?;
        grpc_answer(collected.trailers().unwrap_or(&parts.headers))
    };
    let answer = tokio::time::timeout(TIMEOUT, answered).await.context("no answer in time")?;
    driver.abort();
    answer
}

/// Sends over HTTP/1.1.
///
/// # Errors
/// When there is no answer.
pub async fn over_http(target: SocketAddr, body: &Body) -> Result<Answer> {
    let path = match body.signal {
        Signal::Logs => "/v1/logs",
        Signal::Spans => "/v1/traces",
        Signal::Points => "/v1/metrics",
    };
    let stream = TcpStream::connect(target).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request =
        Request::post(path).header(header::HOST, target.to_string()).header(header::CONTENT_TYPE, body.media_type);
    if let Some(encoding) = body.encoding {
        request = request.header(header::CONTENT_ENCODING, encoding);
    }
    let answered = requests.send_request(request.body(Full::new(body.bytes.clone()))?);
    let response = tokio::time::timeout(TIMEOUT, answered).await.context("no answer in time")??;
    driver.abort();
    Ok(match response.status() {
        StatusCode::OK => Answer::Accepted,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            ensure!(response.headers().contains_key(header::RETRY_AFTER), "a refusal for now without Retry-After");
            Answer::Retryable
        }
        _ => Answer::Refused,
    })
}

/// A status of gRPC by the table of the OTLP specification: RESOURCE_EXHAUSTED may be repeated only if it says when.
fn grpc_answer(headers: &HeaderMap) -> Result<Answer> {
    let status = headers.get("grpc-status").context("no status of gRPC")?.to_str()?;
    let says_when = headers.get("grpc-status-details-bin").is_some_and(|details| details.as_bytes().len() > 20);
    Ok(match status {
        "0" => Answer::Accepted,
        "1" | "4" | "10" | "11" | "14" | "15" => Answer::Retryable,
        "8" if says_when => Answer::Retryable,
        _ => Answer::Refused,
    })
}
