//! The span of a request, from before its body is read to its answer (semantic conventions of OpenTelemetry, "HTTP server"
//! and "gRPC server").
//!
//! It travels in the extensions of the request, so that requests without one, which is nearly all, carry nothing along. A
//! request whose client goes away takes its span with it, and that ends as cancelled.

use std::sync::Arc;

use engine_core::self_telemetry::spans::{Parent, Span, SpanKind, Tracer};
use http::{HeaderMap, Request, StatusCode};

use crate::server::body::Received;
use crate::server::{Refusal, Reply};
use crate::status::Code;
use otlp::Signal;

const TRACEPARENT: &str = "traceparent";

/// Begins the span of a call.
pub(super) fn grpc<B>(tracer: Option<&Tracer>, request: &mut Request<B>, signal: Signal) {
    let Some(span) = begin(tracer, request.headers(), signal) else { return };
    let method = request.uri().path().trim_start_matches('/');
    span.name(method);
    span.text("rpc.system.name", "grpc");
    span.text("rpc.method", method);
    request.extensions_mut().insert(span);
}

/// Begins the span of a request to an exact path with POST.
pub(super) fn http<B>(tracer: Option<&Tracer>, request: &mut Request<B>, signal: Signal, scheme: &str) {
    let Some(span) = begin(tracer, request.headers(), signal) else { return };
    let path = request.uri().path();
    span.name(&format!("POST {path}"));
    span.text("http.request.method", "POST");
    span.text("http.route", path);
    span.text("url.path", path);
    span.text("url.scheme", scheme);
    request.extensions_mut().insert(span);
}

/// The span of a request whose body is there.
pub(super) fn received<B>(request: &Request<B>, received: &Received) -> Option<Arc<Span>> {
    let span = request.extensions().get::<Arc<Span>>()?;
    span.int("bytes", received.wire_bytes);
    Some(Arc::clone(span))
}

/// Ends the span of a call, if it has one, with what `said` says: the status and its text.
pub(super) fn end_grpc<'r, B>(
    request: &mut Request<B>,
    answer: Result<&Reply, Refusal>,
    said: impl FnOnce() -> (Code, &'r str),
) {
    let Some(span) = request.extensions_mut().remove::<Arc<Span>>() else { return };
    let (code, error) = said();
    span.text("rpc.response.status_code", code.name());
    end(&span, answer, error, code.name());
}

/// Ends the span of a request, if it has one.
pub(super) fn end_http<B>(request: &mut Request<B>, answer: Result<&Reply, Refusal>, status: StatusCode, error: &str) {
    let Some(span) = request.extensions_mut().remove::<Arc<Span>>() else { return };
    span.int("http.response.status_code", status.as_u16().into());
    end(&span, answer, error, status.as_str());
}

#[inline]
fn begin(tracer: Option<&Tracer>, headers: &HeaderMap, signal: Signal) -> Option<Arc<Span>> {
    let span = tracer?.begin(SpanKind::Server, || parent(headers))?;
    span.text("signal", signal.as_str());
    Some(span)
}

/// Two headers are as good as none: nobody knows which one is right.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    Parent::read(only.as_bytes())
}

fn end(span: &Span, answer: Result<&Reply, Refusal>, error: &str, error_type: &str) {
    let refusal = match answer {
        Ok(Reply::Accepted) => return span.end("accepted", None),
        Ok(Reply::Partial { .. }) => return span.end("partial", None),
        Ok(reply) => reply.refusal().expect("every reply but the two above is a refusal"),
        Err(refusal) => refusal,
    };
    span.text("error.type", error_type);
    span.end(refusal.as_str(), Some(error));
}
