//! One connection of a client to an OTLP/gRPC server, and what the OTLP specification says of its answers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt as _;

/// Bytes of the gRPC length prefix.
const PREFIX: usize = 5;

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Success for all records but so many.
    Success(u64),
    /// To be sent again, not before so long where the server says it.
    Again(Code, Option<Duration>),
    /// Not to be sent again.
    Never(Code, String),
}

/// The connection was closed before a request was begun.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
pub(super) struct Unsent;

/// An open connection.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    head: Request<()>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
        // An error of the connection reaches whoever waits for an answer on it.
        tokio::spawn(async move { drop(connection.await) });
        let path = "opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let head = Request::post(format!("http://{address}/{path}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())?;
        Ok(Self { requests, head })
    }

    /// Sends a framed message.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not gRPC. If [`Unsent`] is the reason, nothing of it was sent; otherwise
    /// nobody knows whether the message was taken.
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<Answer> {
        self.requests.ready().await.map_err(|_| Unsent)?;
        let sent = self.requests.send_request(self.head.clone().map(|()| Full::new(frame))).await;
        let response = sent.map_err(|error| match error.is_canceled() {
            true => Unsent.into(),
            false => anyhow::Error::from(error),
        })?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await?;
        let headers = collected.trailers().cloned().unwrap_or(parts.headers);
        let message = collected.to_bytes();
        answer(&headers, message.get(PREFIX..).unwrap_or_default())
    }
}

fn answer(headers: &HeaderMap, message: &[u8]) -> Result<Answer> {
    let status = tonic::Status::from_header_map(headers).context("an answer without a gRPC status")?;
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Ok(match status.code() {
        Code::Ok => {
            let partial = ExportLogsServiceResponse::decode(message)?.partial_success.unwrap_or_default();
            Answer::Success(partial.rejected_log_records.try_into()?)
        }
        code @ (Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss) => Answer::Again(code, delay),
        // Only the time says that it is a matter of time.
        code @ Code::ResourceExhausted if delay.is_some() => Answer::Again(code, delay),
        code => Answer::Never(code, status.message().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use tonic_types::ErrorDetails;

    use super::*;

    fn of(status: &tonic::Status) -> Answer {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        answer(&headers, b"").unwrap()
    }

    /// What may be sent again is what the OTLP specification lists; RESOURCE_EXHAUSTED only with a time.
    #[test]
    fn answers_are_understood_as_specified() {
        let retryable =
            (0..17).map(Code::from).filter(|code| matches!(of(&tonic::Status::new(*code, "")), Answer::Again(..)));
        let expected = [1, 4, 10, 11, 14, 15].map(Code::from);
        assert_eq!(retryable.collect::<Vec<_>>(), expected);
        let delay = Some(Duration::from_secs(3));
        let details = ErrorDetails::with_retry_info(delay);
        let status = tonic::Status::with_error_details(Code::ResourceExhausted, "", details);
        assert_eq!(of(&status), Answer::Again(Code::ResourceExhausted, delay));
        assert!(answer(&HeaderMap::new(), b"").is_err());
    }
}
