//! Sends OTLP to a backend over gRPC or HTTP: one payload, one attempt.
//!
//! Not here: the request itself (`transport`), queueing, trying again and halving (the sink driver).

use std::env::VarError;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp as options;
use engine_config::{SecretRef, SecretString};
use engine_core::contract::Sink;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Uri};
use otlp::Payload;
use transport::client::{Client, ClientOptions, Paths};
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem};
use transport::{Compression, Protocol};

inventory::submit! { Registration::sink::<Otlp>() }

/// The sink with its secrets and certificates read. It connects when the first payload comes.
#[derive(Debug)]
pub(crate) struct Otlp {
    client: Client,
    max_request_size: usize,
}

impl BuildSink for Otlp {
    type Options = OtlpSink;

    fn build(options: &OtlpSink, _context: &BuildContext) -> Result<Self, BuildError> {
        let client = Client::new(client_options(options)?).map_err(|error| caused(&error.to_string(), error))?;
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
            self.client.export(signal, wire.into_rope()).await
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
    client.headers = options.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
    client.timeout = options.timeout.get();
    client.connect_timeout = client.connect_timeout.min(client.timeout);
    client.tls = options.tls.as_ref().map(client_tls).transpose()?;
    let options::Paths { logs, metrics, traces } = options.paths.clone();
    client.paths = Paths { logs, metrics, traces };
    Ok(client)
}

fn header(name: &str, value: &options::HeaderValue) -> Result<(HeaderName, HeaderValue), BuildError> {
    let key = HeaderName::try_from(name).map_err(|error| caused(&format!("header `{name}`"), error))?;
    let text = match value {
        options::HeaderValue::Plain(text) => SecretString::new(text.expose()),
        options::HeaderValue::Secret(secret) => {
            let read = read_secret(&secret.secret)
                .map_err(|error| caused(&format!("header `{name}`: cannot read {}", secret.secret), error))?;
            match &secret.prefix {
                Some(prefix) => SecretString::new(format!("{prefix} {}", read.expose())),
                None => read,
            }
        }
    };
    // The error of a wrong value is not passed on: it could say the value.
    let wrong = |_| BuildError::new(format!("header `{name}`: its value has characters that a header cannot have"));
    let mut content = HeaderValue::try_from(text.expose()).map_err(wrong)?;
    content.set_sensitive(true);
    Ok((key, content))
}

/// The secret without the line end that editors put at the end of a file.
fn read_secret(reference: &SecretRef) -> Result<SecretString, std::io::Error> {
    let text = match reference {
        SecretRef::File(path) => std::fs::read_to_string(path)?,
        SecretRef::Directory(_) => return Err(std::io::Error::other("a plan did not resolve it")),
        SecretRef::Env(name) => std::env::var(name).map_err(unreadable)?,
    };
    Ok(SecretString::new(text.trim_end_matches(['\r', '\n'])))
}

/// Why a variable cannot be read. The standard library's text of one that is not UTF-8 would say its value.
fn unreadable(error: VarError) -> std::io::Error {
    match error {
        VarError::NotPresent => std::io::Error::new(std::io::ErrorKind::NotFound, "it is not set"),
        VarError::NotUnicode(_) => std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not valid UTF-8"),
    }
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
mod tests {
    use super::*;

    /// What a secret's variable holds is never part of an error, whatever it is.
    #[test]
    fn errors_do_not_say_secrets() {
        let error = unreadable(VarError::NotUnicode("canary".into()));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
