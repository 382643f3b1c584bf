//! HTTP/1 for probes, scrapers and people: GET and HEAD of four paths, POST of one, bounded in connections and time. Whom a
//! listener answers is said by its door.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::door::Door;
use super::state::State;
use super::{heartbeat, metrics, status};
use crate::reload::{Attempt, Trigger};

/// What there is, for those who ask for something else.
const PATHS: [&str; 4] = ["/livez", "/readyz", "/metrics", "/status"];

/// What has the configuration read again.
const RELOAD: &str = "/reload";

/// Connections that a listener serves at once; more wait in the accept queue.
const CONNECTIONS: usize = 64;
/// Longest time until a request's headers are complete, and between two requests of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this time, so that readers that never read cannot keep all of [`CONNECTIONS`].
const CONNECTION_AGE: Duration = Duration::from_secs(300);
/// Room for a request's headers.
const HEADER_SIZE: usize = 16 * 1024;
/// Pause after a failed accept: without file descriptors the next one fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves a listener until it is dropped.
pub(super) async fn serve(listener: TcpListener, door: Door, state: Arc<State>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let seat = Arc::clone(&seats).acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the administration server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (state, door) = (Arc::clone(&state), door.clone());
        tokio::spawn(async move {
            connection(stream, &door, &state).await;
            drop(seat);
        });
    }
}

async fn connection(stream: TcpStream, door: &Door, state: &State) {
    let service =
        service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(&request, door, state).await));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    // Clients that go away or send nonsense are no news of this process.
    tokio::time::timeout(CONNECTION_AGE, serving).await.ok();
}

/// The answer to a request, whatever its body holds.
pub(super) async fn answer<B>(request: &Request<B>, door: &Door, state: &State) -> Response<Full<Bytes>> {
    if let Some(refusal) = door.refusal(request).await {
        return refusal;
    }
    let path = request.uri().path();
    // Doors that change nothing have refused every method that does.
    if path == RELOAD {
        return reload(request, state).await;
    }
    if !PATHS.contains(&path) {
        return reply(StatusCode::NOT_FOUND, TEXT, format!("not found; there is {}, {RELOAD}\n", PATHS.join(", ")));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return only_reading();
    }
    match path {
        "/livez" => livez(state, Instant::now()),
        "/readyz" => match state.not_ready_because() {
            None => reply(StatusCode::OK, TEXT, "ready\n"),
            Some(reason) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        "/metrics" => reply(StatusCode::OK, PROMETHEUS, metrics::render(state)),
        _ => {
            let document = door.json(&status::document(state));
            reply(StatusCode::OK, JSON, document.expect("the document has string keys and finite numbers"))
        }
    }
}

/// Has the configuration read again and says what became of it. A page can send a POST to an address without asking, but not
/// without saying in Origin where it is from.
async fn reload<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    if *request.method() != Method::POST {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only POST\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if request.headers().contains_key(header::ORIGIN) {
        return reply(StatusCode::FORBIDDEN, TEXT, "not for pages: the request has an Origin header\n".to_owned());
    }
    match state.reloads().taken(Trigger::Request).await {
        Some(Attempt::Applied { hash } | Attempt::Unchanged { hash }) => {
            reply(StatusCode::OK, TEXT, format!("{hash}\n"))
        }
        Some(Attempt::Refused { drawn }) => reply(StatusCode::UNPROCESSABLE_ENTITY, TEXT, drawn),
        None => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not running, or too many ask\n".to_owned()),
    }
}

fn livez(state: &State, now: Instant) -> Response<Full<Bytes>> {
    let late = state.heartbeats().late(now);
    if late.is_empty() {
        return reply(StatusCode::OK, TEXT, "alive\n");
    }
    let lines: String = late
        .iter()
        .map(|heartbeat::Late { name, silent }| format!("{name} has not run for {} s\n", silent.as_secs()))
        .collect();
    reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines)
}

/// The answer to whoever wants to change something.
pub(super) fn only_reading() -> Response<Full<Bytes>> {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
