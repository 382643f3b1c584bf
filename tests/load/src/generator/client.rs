//! One OTLP/gRPC client connection on bare hyper: cheap, and in control of the frames that it sends.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Spec;
use crate::signal::Signal;

/// Bytes of an answer without partial success: a prefix and an empty message.
const EMPTY_ANSWER: usize = 5;

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Success for every record.
    Accepted,
    /// Come back later: UNAVAILABLE or RESOURCE_EXHAUSTED.
    Busy,
    /// INVALID_ARGUMENT.
    Invalid,
    /// Success with a message: some records were rejected.
    #[allow(dead_code, reason = "read through Debug in reports")]
    Partial(usize),
    /// Any other status.
    #[allow(dead_code, reason = "read through Debug in reports")]
    Failed { status: String, message: String },
}

/// A handle to one connection; clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    requests: SendRequest<Pieces>,
    head: Request<()>,
    max_frame: usize,
}

impl Client {
    pub(super) async fn connect(spec: &Spec) -> Result<Client> {
        let mut client = Client::over(TcpStream::connect(spec.target).await?, spec.target, spec.signal).await?;
        if let Some(encoding) = spec.compression.encoding() {
            client.head.headers_mut().insert("grpc-encoding", HeaderValue::from_static(encoding));
        }
        client.max_frame = spec.max_frame.unwrap_or(usize::MAX);
        Ok(client)
    }

    /// A client over a connection to `target` that is made already.
    pub(crate) async fn over(stream: TcpStream, target: SocketAddr, signal: Signal) -> Result<Client> {
        stream.set_nodelay(true)?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
        // An error of the connection reaches whoever waits for an answer on it.
        tokio::spawn(async move { drop(connection.await) });
        let head = Request::post(format!("http://{target}{}", signal.path()))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, "OTel-OTLP-Exporter-Load/1");
        Ok(Client { requests, head: head.body(())?, max_frame: usize::MAX })
    }

    /// The same connection for requests of another signal, with a token that says who sends them.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub(crate) fn authorized(&self, target: SocketAddr, signal: Signal, token: &str) -> Result<Client> {
        let mut client = self.clone();
        *client.head.uri_mut() = format!("http://{target}{}", signal.path()).parse()?;
        client.head.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        Ok(client)
    }

    /// The same connection for requests that are not compressed.
    pub(super) fn plain(&self) -> Client {
        let mut client = self.clone();
        client.head.headers_mut().remove("grpc-encoding");
        client
    }

    /// Sends one framed message and reads the answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not gRPC.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<Answer> {
        let pieces = Pieces { rest: frame, max_frame: self.max_frame };
        self.requests.ready().await?;
        let response = self.requests.send_request(self.head.clone().map(|()| pieces)).await?;
        let (parts, mut body) = response.into_parts();
        let mut length = 0;
        let mut trailers = None;
        while let Some(received) = body.frame().await {
            match received?.into_data() {
                Ok(data) => length += data.len(),
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        answer(trailers.as_ref().unwrap_or(&parts.headers), length)
            .with_context(|| format!("no gRPC status in an answer of HTTP {}", parts.status))
    }
}

fn answer(headers: &HeaderMap, length: usize) -> Option<Answer> {
    Some(match headers.get("grpc-status")?.to_str().ok()? {
        "0" if length == EMPTY_ANSWER => Answer::Accepted,
        "0" => Answer::Partial(length),
        "3" => Answer::Invalid,
        "8" | "14" => Answer::Busy,
        status => Answer::Failed { status: status.into(), message: format!("{:?}", headers.get("grpc-message")) },
    })
}

/// A body in frames of at most `max_frame`, without a declared length, as gRPC clients send it.
#[derive(Debug)]
pub(super) struct Pieces {
    rest: Bytes,
    max_frame: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(self.max_frame);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }
}
