//! Whether the manager lives and is ready, and what it counts: `/livez`, `/readyz`, `/metrics`. Nothing here changes anything.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections that are served at once.
const CONNECTIONS: usize = 32;
/// Longest time until the headers of a request are complete.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this time.
const CONNECTION_AGE: Duration = Duration::from_secs(300);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the manager is.
#[derive(Debug, Default)]
pub(super) struct Health {
    ready: AtomicBool,
}

impl Health {
    /// Everything has been seen once.
    pub(super) fn is_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, health: Arc<Health>) {
    // A second manager in one process, as tests have it, counts with the first.
    let handle = PrometheusBuilder::new().install_recorder().ok();
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let seat = Arc::clone(&seats).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (health, handle) = (Arc::clone(&health), handle.clone());
                tokio::spawn(async move {
                    connection(stream, &health, handle.as_ref()).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, health: &Health, handle: Option<&PrometheusHandle>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), health, handle);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Clients that go away or send nonsense are no news of this process.
    tokio::time::timeout(CONNECTION_AGE, serving).await.ok();
}

fn answer(method: &Method, path: &str, health: &Health, handle: Option<&PrometheusHandle>) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match path {
        "/livez" => reply(StatusCode::OK, "alive\n"),
        "/readyz" if health.ready.load(Ordering::Relaxed) => reply(StatusCode::OK, "ready\n"),
        "/readyz" => reply(StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been seen yet\n"),
        "/metrics" => {
            let text = handle.map(PrometheusHandle::render).unwrap_or_default();
            reply(StatusCode::OK, text)
        }
        _ => reply(StatusCode::NOT_FOUND, "not found; there is /livez, /readyz, /metrics\n"),
    }
}

fn reply(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.into())));
    *response.status_mut() = status;
    response
}
