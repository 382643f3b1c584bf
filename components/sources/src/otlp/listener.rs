//! From the options of a listener to what a server is started with; certificates and secrets are read here.

use std::net::SocketAddr;
use std::sync::Arc;

use engine_config::sources::otlp::Listener;
use engine_config::{ListenAddress, ServerAuth};
use engine_core::registry::BuildError;
use engine_core::telemetry::ComponentTelemetry;
use transport::Protocol;
use transport::server::{Auth, AuthOptions, Cors, CorsOptions, Limits, ServerOptions};
use transport::tls::ServerTls;

/// One listener that does not serve yet.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The option that asks for its socket.
    pub(super) key: &'static str,
    pub(super) address: SocketAddr,
    pub(super) options: ServerOptions,
    pub(super) trust: Trust,
}

/// Whose marks are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Senders may be anybody.
    Nobody,
    /// Senders are engines of the same installation, which have a token.
    Senders,
}

impl Prepared {
    pub(super) fn new(protocol: Protocol, address: ListenAddress, listener: &Listener) -> Result<Self, BuildError> {
        let options = ServerOptions {
            tls: listener.tls.as_ref().map(|files| ServerTls::read(protocol, files)).transpose().map_err(caused)?,
            auth: listener.auth.as_ref().map(auth).transpose()?,
            cors: listener.cors.as_ref().map(cors).transpose()?,
            limits: limits(listener),
            ..ServerOptions::new(protocol)
        };
        let key = match protocol {
            Protocol::Grpc => "grpc.listen",
            Protocol::Http => "http.listen",
        };
        let trust = if listener.trusted { Trust::Senders } else { Trust::Nobody };
        Ok(Self { key, address: address.get(), options, trust })
    }

    /// Has the component's telemetry count what is wrong with the files that the listener follows.
    pub(super) fn report_to(&self, telemetry: &Arc<ComponentTelemetry>) {
        if let Some(tls) = &self.options.tls {
            let telemetry = Arc::clone(telemetry);
            tls.report_to(move |complaint| telemetry.error(complaint.kind, complaint.message));
        }
        if let Some(auth) = &self.options.auth {
            let telemetry = Arc::clone(telemetry);
            auth.report_to(move |complaint| telemetry.error(complaint.kind, complaint.message));
        }
    }
}

fn limits(listener: &Listener) -> Limits {
    let size = |bytes: engine_config::ByteSize| usize::try_from(bytes.0).unwrap_or(usize::MAX);
    let count = |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    Limits {
        max_request_size: size(listener.max_request_size),
        max_header_size: u32::try_from(listener.max_header_size.0).unwrap_or(u32::MAX),
        max_connections: count(listener.max_connections),
        max_connections_per_address: listener.max_connections_per_address.map(count),
        max_concurrent_streams: listener.max_concurrent_streams.get(),
        handshake_timeout: listener.handshake_timeout.get(),
        header_timeout: listener.header_timeout.get(),
        request_timeout: listener.request_timeout.get(),
        idle_timeout: listener.idle_timeout.get(),
        keepalive_interval: listener.keepalive.interval.get(),
        keepalive_timeout: listener.keepalive.timeout.get(),
        max_connection_age: listener.max_connection_age.map(engine_config::Span::get),
        drain_grace: listener.drain_grace.get(),
        ..Limits::default()
    }
}

fn auth(options: &ServerAuth) -> Result<Auth, BuildError> {
    let users = options.basic.users.iter().map(|(name, password)| (name.clone(), password.clone())).collect();
    Auth::new(&AuthOptions { users, tokens: options.bearer.tokens.clone() }).map_err(caused)
}

fn cors(options: &engine_config::Cors) -> Result<Cors, BuildError> {
    let engine_config::Cors { allowed_origins, allowed_headers, max_age } = options.clone();
    Cors::new(CorsOptions { allowed_origins, allowed_headers, max_age: max_age.get() }).map_err(caused)
}

fn caused(error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::caused(error.to_string(), error)
}

#[cfg(test)]
mod tests;
