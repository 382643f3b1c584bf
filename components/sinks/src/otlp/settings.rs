//! From the options of the sink to those of the transport, with certificates and the proxy's credentials read.

use std::num::NonZeroUsize;
use std::sync::Arc;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp as options;
use engine_core::registry::BuildError;
use http::{HeaderValue, Uri};
use transport::client::{BodyEncoding, ClientOptions, HeaderSource, Paths, Proxy, Spread};
use transport::reload::{Material, Reloading};
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem};
use transport::{Compression, Protocol};

use super::headers::{Content, HeaderError};
use super::secrets::Secret;

/// The credentials that the proxy wants, as a header.
#[derive(Clone, PartialEq)]
struct ProxyCredentials(Content);

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
    client.proxy = options.proxy.as_ref().map(proxy).transpose()?;
    client.spread = options.spread.as_ref().map(spread);
    Ok(client)
}

/// The proxy, with its credentials read.
pub(super) fn proxy(options: &options::Proxy) -> Result<Proxy, BuildError> {
    let uri = options.url().to_string().parse();
    let uri = uri.map_err(|error| BuildError::caused("the address of the proxy is not a URI", error))?;
    let authorization = match options {
        options::Proxy::Table(options::connections::ProxyTable {
            username: Some(username),
            password: Some(password),
            ..
        }) => {
            let read = || {
                let username = Secret::of("`proxy.username`", username)?;
                let password = Secret::read("`proxy.password`", password)?;
                Reloading::new(ProxyCredentials(Content::Basic(username, password)))
            };
            let credentials = read().map_err(|error: HeaderError| BuildError::new(error.to_string()))?;
            Some(Arc::new(credentials) as Arc<dyn HeaderSource>)
        }
        _ => None,
    };
    Ok(Proxy { uri, authorization })
}

fn spread(options: &options::Spread) -> Spread {
    let node = options.node.clone().unwrap_or_else(host_name);
    Spread { addresses: NonZeroUsize::from(options.addresses), node }
}

/// The name of this host, which tells engines on different hosts or in different pods apart.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Material for ProxyCredentials {
    type Made = HeaderValue;
    type Error = HeaderError;
    const NAME: &'static str = "credentials for the proxy";

    fn is_on_disk(&self) -> bool {
        self.0.is_on_disk()
    }

    fn read_again(&self) -> Result<Self, HeaderError> {
        Ok(Self(self.0.read_again()?))
    }

    fn make(&self) -> Result<HeaderValue, HeaderError> {
        self.0.to_send()
    }
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
