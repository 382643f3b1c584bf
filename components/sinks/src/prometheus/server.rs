//! The port that Prometheus scrapes: HTTP/1 and HTTP/2, GET and HEAD of one path, bounded in connections, time and pages
//! that are written at once. It reads no request body.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::contract::ComponentError;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use transport::tls::ServerTls;

use super::Shared;
use super::exposition::{Format, Syntax, Timestamps};
use super::negotiate;

/// Pages that exist at once, being written or being read by a scraper: each may be as large as the table allows.
const PAGES: usize = 4;
/// How long a scrape waits for one of them.
const PAGE_WAIT: Duration = Duration::from_secs(5);
/// How long a scraper may take to read a page. One that does not read would keep others from theirs.
const READ_TIME: Duration = Duration::from_secs(60);
/// Series that are written before the table is unlocked for a moment.
const SERIES_AT_ONCE: usize = 256;
/// Room for a request's headers.
const HEADER_SIZE: usize = 16 * 1024;
/// Pause after a failed accept: without file descriptors the next one fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a scrape under way may still take when the server is to end.
const GRACE: Duration = Duration::from_secs(1);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How the port is served.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) path: String,
    pub(super) tls: Option<ServerTls>,
    pub(super) timestamps: Timestamps,
    pub(super) max_connections: usize,
    pub(super) header_timeout: Duration,
    pub(super) max_connection_age: Duration,
}

/// What all connections share.
struct Server {
    settings: Settings,
    shared: Arc<Shared>,
    pages: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A page, and the leave to have it in memory.
struct Page {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
    /// Says when it has been read.
    _read: DropGuard,
}

/// Serves until `stop`.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    settings: Settings,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> Result<(), ComponentError> {
    let listener =
        TcpListener::from_std(listener).map_err(|error| ComponentError::caused("cannot serve the port", error))?;
    let seats = Arc::new(Semaphore::new(settings.max_connections));
    let server = Arc::new(Server { settings, shared, pages: Arc::new(Semaphore::new(PAGES)), stop: stop.clone() });
    let connections = TaskTracker::new();
    loop {
        let seat = tokio::select! {
            () = stop.cancelled() => break,
            seat = Arc::clone(&seats).acquire_owned() => seat.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a scraper's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            // Clients that go away, send nonsense or stay too long are no news of this process.
            tokio::time::timeout(server.settings.max_connection_age, connection(&server, stream)).await.ok();
            drop(seat);
        });
    }
    connections.close();
    tokio::time::timeout(GRACE, connections.wait()).await.ok();
    Ok(())
}

async fn connection(server: &Arc<Server>, stream: TcpStream) {
    let Some(tls) = &server.settings.tls else { return drive(server, stream).await };
    let handshake = async { tls.acceptor().await.accept(stream).await };
    if let Ok(Ok(secured)) = tokio::time::timeout(server.settings.header_timeout, handshake).await {
        drive(server, secured).await;
    }
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(server: &Arc<Server>, stream: S) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.header_timeout)
        .max_buf_size(HEADER_SIZE);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEADER_SIZE as u32);
    let (answering, stuck) = (Arc::clone(server), CancellationToken::new());
    let is_stuck = stuck.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, stuck) = (Arc::clone(&answering), stuck.clone());
        async move { Ok::<_, Infallible>(answer(&server, &stuck, &request).await) }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = is_stuck.cancelled() => return,
        () = server.stop.cancelled() => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving => {}
        () = is_stuck.cancelled() => {}
    }
}

/// Answers a request. `stuck` is cancelled when the page has not been read in time.
async fn answer<B>(server: &Arc<Server>, stuck: &CancellationToken, request: &Request<B>) -> Response<Full<Bytes>> {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    if path != server.settings.path {
        return refuse(StatusCode::NOT_FOUND, format!("not found; there is {}\n", server.settings.path));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let waited = tokio::time::timeout(PAGE_WAIT, Arc::clone(&server.pages).acquire_owned()).await;
    let Ok(permit) = waited else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes are under way\n".to_owned());
    };
    let permit = permit.expect("the semaphore is never closed");
    let (syntax, is_gzip) = (negotiate::syntax(headers), negotiate::takes_gzip(headers));
    let format = Format { syntax, timestamps: server.settings.timestamps };
    let shared = Arc::clone(&server.shared);
    let written =
        tokio::task::spawn_blocking(move || if is_gzip { gzip_page(&shared, format) } else { page(&shared, format) });
    let Ok(bytes) = written.await else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n".to_owned());
    };
    let page = Page { bytes, _permit: permit, _read: watched(stuck).drop_guard() };
    let mut response = Response::new(Full::new(Bytes::from_owner(page)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(syntax.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    guarded(response)
}

/// A token to cancel when a page has been read. `stuck` is cancelled when that takes too long.
fn watched(stuck: &CancellationToken) -> CancellationToken {
    let read = CancellationToken::new();
    let (stuck, is_read) = (stuck.clone(), read.clone());
    tokio::spawn(async move {
        if tokio::time::timeout(READ_TIME, is_read.cancelled()).await.is_err() {
            stuck.cancel();
        }
    });
    read
}

fn refuse(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    guarded(response)
}

/// Says that no browser shall guess what this is or keep it.
fn guarded(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Everything that is not too old, as text.
pub(super) fn page(shared: &Shared, format: Format) -> Vec<u8> {
    let mut text = String::new();
    write_page(shared, format, &mut text, |_| {});
    text.into_bytes()
}

/// The same compressed, without ever holding all of the text.
fn gzip_page(shared: &Shared, format: Format) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut text = String::new();
    write_page(shared, format, &mut text, |text| {
        encoder.write_all(text.as_bytes()).expect("memory takes everything");
        text.clear();
    });
    encoder.finish().expect("memory takes everything")
}

/// Calls back whenever the table is not locked.
fn write_page(shared: &Shared, format: Format, text: &mut String, mut between: impl FnMut(&mut String)) {
    let names = shared.current().names();
    for name in names {
        let mut from = Some(0);
        while let Some(place) = from {
            from = shared.table.lock().write(&name, place, SERIES_AT_ONCE, format, text);
            between(text);
        }
    }
    if format.syntax == Syntax::OpenMetrics {
        text.push_str(format.syntax.end());
    }
    between(text);
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
