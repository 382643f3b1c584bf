//! Sends OTLP to a backend over gRPC or HTTP: one payload, one attempt.
//!
//! Not here: the request itself (`transport`), queueing, trying again and halving (the sink driver).

mod headers;

use std::sync::Arc;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp as options;
use engine_core::contract::Sink;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use http::Uri;
use otlp::Payload;
use transport::client::{Client, ClientOptions, Paths};
use transport::reload::Reloading;
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem};
use transport::{Compression, Protocol};

use headers::Headers;

inventory::submit! { Registration::sink::<Otlp>() }

/// The sink with its secrets and certificates read. It connects when the first payload comes.
#[derive(Debug)]
pub(crate) struct Otlp {
    client: Reloading<Headers>,
    max_request_size: usize,
}

impl BuildSink for Otlp {
    type Options = OtlpSink;

    fn build(options: &OtlpSink, _context: &BuildContext) -> Result<Self, BuildError> {
        let bare = Client::new(client_options(options)?).map_err(|error| caused(&error.to_string(), error))?;
        let said = |error: headers::HeaderError| BuildError::new(error.to_string());
        let client = Reloading::new(Headers::read(bare, options).map_err(said)?).map_err(said)?;
        let max_request_size = usize::try_from(options.max_request_size.0).unwrap_or(usize::MAX);
        Ok(Self { client, max_request_size })
    }
}

impl Sink for Otlp {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let signal = payload.signal();
            let wire = match payload.into_wire() {
                Ok(wire) => wire,
                Err(error) => return Outcome::rejected(RejectionKind::Invalid, error.to_string()),
            };
            if wire.len() > self.max_request_size {
                let message =
                    format!("a request of {} bytes is over max_request_size, {}", wire.len(), self.max_request_size);
                return Outcome::rejected(RejectionKind::TooLarge, message);
            }
            let client = self.client.current().await;
            let outcome = client.export(signal, wire.into_rope()).await;
            match &outcome {
                Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Unauthorized => {
                    // A token that was rotated since the last look must not cost data.
                    let now = self.client.instead_of(&client).await;
                    if Arc::ptr_eq(&now, &client) { outcome } else { Outcome::retry(rejection.message.clone()) }
                }
                _ => outcome,
            }
        })
    }
}

fn client_options(options: &OtlpSink) -> Result<ClientOptions, BuildError> {
    let endpoint: Uri =
        options.endpoint.to_string().parse().map_err(|error| caused("the endpoint is not a URI", error))?;
    let protocol = match options.protocol {
        options::Protocol::Grpc => Protocol::Grpc,
        options::Protocol::Http => Protocol::Http,
    };
    let mut client = ClientOptions::new(endpoint, protocol);
    client.compression = match options.compression {
        options::Compression::None => Compression::None,
        options::Compression::Gzip => Compression::Gzip(options.level().into()),
        options::Compression::Zstd => Compression::Zstd(options.level().into()),
    };
    client.timeout = options.timeout.get();
    client.connect_timeout = client.connect_timeout.min(client.timeout);
    client.tls = options.tls.as_ref().map(client_tls).transpose()?;
    let options::Paths { logs, metrics, traces } = options.paths.clone();
    client.paths = Paths { logs, metrics, traces };
    Ok(client)
}

fn client_tls(files: &engine_config::ClientTls) -> Result<ClientTls, BuildError> {
    let read = || {
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some(Identity::read(certificate, key)?),
            _ => None,
        };
        let authorities = files.ca.as_deref().map(Pem::read).transpose()?;
        ClientTls::new(&ClientTlsOptions { authorities, identity, server_name: files.server_name.clone() })
    };
    read().map_err(|error| caused(&error.to_string(), error))
}

fn caused(message: &str, error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::caused(message, error)
}

#[cfg(test)]
mod tests;
