//! From the options of the sink to those of the transport, with certificates read.

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp as options;
use engine_core::registry::BuildError;
use http::Uri;
use transport::client::{BodyEncoding, ClientOptions, Paths};
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem};
use transport::{Compression, Protocol};

/// What a client without headers is made of.
pub(super) fn client_options(options: &OtlpSink) -> Result<ClientOptions, BuildError> {
    let endpoint: Uri =
        options.endpoint.to_string().parse().map_err(|error| BuildError::caused("the endpoint is not a URI", error))?;
    let protocol = match options.protocol {
        options::Protocol::Grpc => Protocol::Grpc,
        options::Protocol::Http => Protocol::Http,
    };
    let mut client = ClientOptions::new(endpoint, protocol);
    client.encoding = match options.encoding {
        options::Encoding::Protobuf => BodyEncoding::Protobuf,
        options::Encoding::Json => BodyEncoding::Json,
    };
    client.compression = match options.compression {
        options::Compression::None => Compression::None,
        options::Compression::Gzip => Compression::Gzip(options.level().into()),
        options::Compression::Zstd => Compression::Zstd(options.level().into()),
        options::Compression::Snappy => Compression::Snappy,
    };
    client.timeout = options.timeout.get();
    client.connect_timeout = client.connect_timeout.min(client.timeout);
    client.tls = options.tls.as_ref().map(client_tls).transpose()?;
    let options::Paths { logs, metrics, traces } = options.paths.clone();
    client.paths = Paths { logs, metrics, traces };
    Ok(client)
}

/// The TLS of a connection, with its files read.
pub(super) fn client_tls(files: &engine_config::ClientTls) -> Result<ClientTls, BuildError> {
    let read = || {
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some(Identity::read(certificate, key)?),
            _ => None,
        };
        let authorities = files.ca.as_deref().map(Pem::read).transpose()?;
        ClientTls::new(&ClientTlsOptions { authorities, identity, server_name: files.server_name.clone() })
    };
    read().map_err(|error| BuildError::caused(error.to_string(), error))
}
