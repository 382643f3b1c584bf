//! From a stream to a connection that takes requests: the HTTP handshake, and a word for peers that speak something else.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::body::RequestBody;
use crate::client::describe;

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

/// A connection fresh from its handshake; its driver runs on the runtime that dialled.
pub(super) enum Dialed {
    Http2(http2::SendRequest<RequestBody>),
    Http1(http1::SendRequest<RequestBody>),
}

/// What the peer is expected to speak.
#[derive(Clone, Copy)]
enum Version {
    Http1,
    Http2,
}

/// A stream that looks at the first byte of the peer: most mistakes of a configuration show there, and the errors of
/// parsers do not say which. Until it has come, a failed write is told as what the peer said before it closed.
struct FirstByte<S> {
    stream: S,
    /// None once the byte has come.
    expected: Option<Version>,
    misfit: Misfit,
    /// Of a write, until it is known what the peer has said.
    failed: Option<io::Error>,
}

/// What was wrong with the last peer that had something to say, or what it said against us. Requests ask for it when all
/// they know is that their connection was closed.
#[derive(Clone, Default)]
pub(super) struct Misfit(Arc<Mutex<Option<Arc<str>>>>);

pub(super) async fn http2<S>(stream: S, misfit: Misfit) -> io::Result<Dialed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = FirstByte { stream, expected: Some(Version::Http2), misfit, failed: None };
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

pub(super) async fn http1<S>(stream: S, misfit: Misfit) -> io::Result<Dialed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = FirstByte { stream, expected: Some(Version::Http1), misfit, failed: None };
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

/// What an error of a TLS handshake means, where its text alone does not say it.
pub(super) fn explained(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if !matches!(cause, Some(rustls::Error::InvalidMessage(_))) {
        return error;
    }
    io::Error::new(error.kind(), format!("the peer does not speak TLS, is it an http:// address? ({error})"))
}

impl Misfit {
    pub(super) fn get(&self) -> Option<Arc<str>> {
        self.0.lock().expect("nothing panics while it holds the lock").clone()
    }

    fn set(&self, misfit: Option<Arc<str>>) {
        *self.0.lock().expect("nothing panics while it holds the lock") = misfit;
    }
}

impl Version {
    /// What a peer speaks that begins with this byte, when it is not what is expected.
    fn misfit(self, first: u8) -> Option<&'static str> {
        const TLS_ALERT: u8 = 21;
        match (self, first) {
            (_, TLS_ALERT) => Some("the peer speaks TLS, is it an https:// address?"),
            (Self::Http2, b'H') => Some("the peer speaks HTTP/1, is it the port of OTLP over HTTP?"),
            // An HTTP/2 server begins with a frame of settings, which is shorter than 64 KiB.
            (Self::Http1, 0) => Some("the peer speaks HTTP/2, is it the port of OTLP over gRPC?"),
            _ => None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByte<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(expected) = self.expected else { return Pin::new(&mut self.stream).poll_read(context, buffer) };
        let before = buffer.filled().len();
        if let Err(said) = ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
            self.misfit.set(Some(said.to_string().into()));
            return Poll::Ready(Err(said));
        }
        if let Some(first) = buffer.filled().get(before) {
            let misfit = expected.misfit(*first);
            self.misfit.set(misfit.map(Arc::from));
            if let Some(misfit) = misfit {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, misfit)));
            }
            self.expected = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> FirstByte<S> {
    /// A server that does not take a client's certificate says so when the client has sent its request already (TLS 1.3),
    /// and closes. Whoever goes on to write hears of the closing only; what was said waits to be read.
    fn poll_explained<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.failed.is_none() {
            match ready!(write(Pin::new(&mut self.stream), context)) {
                Err(error) if self.expected.is_some() => self.failed = Some(error),
                written => return Poll::Ready(written),
            }
        }
        // A socket that has failed can be read, if only to hear of it.
        let said = ready!(Pin::new(&mut *self).poll_read(context, &mut ReadBuf::new(&mut [0])));
        let error = self.failed.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(Err(said.err().unwrap_or(error)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FirstByte<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_explained(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_explained(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_explained(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
