//! Options of the `otlp` source.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;
use crate::auth::ServerAuth;
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::cors::Cors;
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::size::ByteSize;
use crate::span::Span;
use crate::tls::ServerTls;

/// Receives OTLP over gRPC and over HTTP (protobuf and JSON), compressed with gzip, zstd or snappy, or not at all.
///
/// With neither `grpc` nor `http` both are on, at `127.0.0.1:4317` and `127.0.0.1:4318`. Naming one switches the other
/// off unless it is named too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSource {
    /// OTLP over gRPC. `grpc = {}` takes all defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Listener>,
    /// OTLP over HTTP at `/v1/logs`, `/v1/metrics` and `/v1/traces`. `http = {}` takes all defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Listener>,
}

/// One listening socket and what a client may ask of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// Address and port to listen on. `"[::]:4317"` is every IPv4 and IPv6 address; port 0 lets the system choose.
    /// Default: `"127.0.0.1:4317"` for gRPC, `"127.0.0.1:4318"` for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenAddress>,
    /// TLS. Without it connections are in clear. The files are looked at again with the first connection 10 s after the
    /// last look; a new content is in use from then on for new connections. While the files cannot be used, or certificate
    /// and key do not belong together, the last good ones stay, and the log, `/status` and
    /// `errors_total{kind="reload_failed"}` say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Who may send: with `basic` and `bearer` whoever has either. Others get 401 or UNAUTHENTICATED before anything of
    /// their request is read. Without it everybody may. Files are looked at again with the first request 10 s after the
    /// last look, and at once when somebody shows what is not known yet, at most every second; while a file is gone, empty
    /// or unfit, what it held last stays good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<ServerAuth>,
    /// Whether those who send are other engines of the same installation, such as agents. Their marks
    /// (`telemetry_engine.mark.*` of resources, which say which input data came from) are kept, and their data is never
    /// taken for their own because of the address it came from. Needs `auth` with tokens. Others' marks are removed and
    /// counted as `errors_total{kind="foreign_mark"}`.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted: bool,
    /// Pages whose scripts may send, for telemetry out of browsers. Only for `http`. Without it browsers let no page of
    /// another origin send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Largest request after decompression. Larger ones are refused for good.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub max_request_size: ByteSize,
    /// Largest set of request headers.
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub max_header_size: ByteSize,
    /// Connections that may be open at once. More are closed at once.
    pub max_connections: NonZeroU32,
    /// Connections that one IPv4 address, or one IPv6 network of 64 bits, may have open at once. More are closed at once.
    /// Without it one client may have all of them. Behind a proxy or load balancer that hides its clients' addresses they
    /// all are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<NonZeroU32>,
    /// Requests that one HTTP/2 connection may have under way at once.
    pub max_concurrent_streams: NonZeroU32,
    /// Longest TLS handshake.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub handshake_timeout: Span,
    /// Longest time until the headers of a request are complete. An HTTP/1 connection that waits longer for its next
    /// request is closed too.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub header_timeout: Span,
    /// Longest time until the body of a request is complete.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub request_timeout: Span,
    /// A connection without a request is closed after this time.
    #[schemars(extend("x-minimum" = "1s"))]
    pub idle_timeout: Span,
    /// How HTTP/2 connections whose peer is silent are found to be dead.
    #[serde(skip_serializing_if = "is_default")]
    pub keepalive: Keepalive,
    /// A connection is closed in good order after this time, 10 % more or less, so that clients spread over new
    /// instances. Without it connections live as long as the client likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s"))]
    pub max_connection_age: Option<Span>,
    /// How long requests under way may still take on a connection that is being closed, because of its age or because
    /// the program ends.
    #[schemars(extend("x-maximum" = "1h"))]
    pub drain_grace: Span,
}

/// How HTTP/2 connections whose peer is silent are found to be dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// A peer that has sent nothing for so long is asked for a sign of life (PING).
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub interval: Span,
    /// A peer that does not answer for so long is gone, and its connection is closed.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub timeout: Span,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Span::secs(60), timeout: Span::secs(20) }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: None,
            tls: None,
            auth: None,
            trusted: false,
            cors: None,
            max_request_size: ByteSize::mib(64),
            max_header_size: ByteSize::kib(16),
            max_connections: NonZeroU32::new(4096).expect("not zero"),
            max_connections_per_address: None,
            max_concurrent_streams: NonZeroU32::new(200).expect("not zero"),
            handshake_timeout: Span::secs(10),
            header_timeout: Span::secs(30),
            request_timeout: Span::secs(30),
            idle_timeout: Span::secs(180),
            keepalive: Keepalive::default(),
            max_connection_age: None,
            drain_grace: Span::secs(30),
        }
    }
}

impl Listener {
    fn facts(&self, name: &'static str, address: ListenAddress, facts: Facts) -> Facts {
        let facts = facts.listens([name, "listen"], address);
        let facts = match &self.tls {
            Some(tls) => tls.references(facts, name),
            None => facts,
        };
        match &self.auth {
            Some(auth) => auth.references(facts, name),
            None => facts,
        }
    }

    fn check(&self, name: &'static str, address: ListenAddress, checker: &mut Checker) {
        if let Some(tls) = &self.tls {
            tls.check(checker, [name, "tls", "client_names"]);
        }
        if let Some(auth) = &self.auth {
            auth.check(checker, name, address, self.tls.is_none());
        }
        if self.trusted && self.auth.as_ref().is_none_or(|auth| auth.bearer.tokens.is_empty()) {
            let message = "`trusted` without a token would believe anybody's marks";
            let help = format!("add `{name}.auth.bearer.tokens`, or remove `trusted`");
            checker.error([name, "trusted"], message).expected("`auth.bearer.tokens`").help(help);
        }
        if self.max_connections_per_address.is_some_and(|most| most > self.max_connections) {
            let message = "`max_connections_per_address` has no effect above `max_connections`";
            checker.no_effect([name, "max_connections_per_address"], message).help("lower it, or raise the other");
        }
    }
}

impl OtlpSource {
    /// The gRPC listener and its address, if it is on.
    pub fn grpc_listener(&self) -> Option<(ListenAddress, Listener)> {
        let listener = self.grpc.clone().or_else(|| self.http.is_none().then(Listener::default))?;
        Some((listener.listen.unwrap_or(ListenAddress::loopback(4317)), listener))
    }

    /// The HTTP listener and its address, if it is on.
    pub fn http_listener(&self) -> Option<(ListenAddress, Listener)> {
        let listener = self.http.clone().or_else(|| self.grpc.is_none().then(Listener::default))?;
        Some((listener.listen.unwrap_or(ListenAddress::loopback(4318)), listener))
    }
}

impl ComponentOptions for OtlpSource {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "otlp";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        if let Some((address, grpc)) = self.grpc_listener() {
            grpc.check("grpc", address, checker);
            if grpc.cors.is_some() {
                let message = "`cors` has no effect with gRPC, which browsers do not speak";
                checker.no_effect(["grpc", "cors"], message).help("move it to `http`");
            }
        }
        if let Some((address, http)) = self.http_listener() {
            http.check("http", address, checker);
        }
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::source(SignalSet::ALL);
        if let Some((address, grpc)) = self.grpc_listener() {
            facts = grpc.facts("grpc", address, facts);
        }
        if let Some((address, http)) = self.http_listener() {
            facts = http.facts("http", address, facts);
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Naming one protocol leaves the other off; naming none leaves both on.
    #[test]
    fn presence_switches_protocols() {
        let both = OtlpSource::default();
        assert_eq!(ComponentOptions::facts(&both).claims.len(), 2);
        let only_grpc = OtlpSource { grpc: Some(Listener::default()), http: None };
        assert_eq!(only_grpc.grpc_listener().map(|(address, _)| address), Some(ListenAddress::loopback(4317)));
        assert_eq!(only_grpc.http_listener(), None);
    }
}
