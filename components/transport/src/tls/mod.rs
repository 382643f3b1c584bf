//! TLS for both sides: rustls with ring, TLS 1.2 and 1.3, certificates from PEM.
//!
//! Verification cannot be switched off. Certificates in files are followed (`crate::reload`): new connections use
//! what is in the files then, old ones keep what they were made with.

mod clients;
mod validity;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::Protocol;
use crate::reload::{Complaint, Material, Reloading};
use crate::tls::clients::NamedClients;

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// What the log calls the files that are followed.
const CERTIFICATES: &str = "certificates";

/// Certificates or keys as PEM text, from a file or with the name that errors give them. Its memory is overwritten when it
/// is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    name: String,
    file: Option<PathBuf>,
    text: Zeroizing<Vec<u8>>,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain, the own certificate first.
    pub certificates: Pem,
    /// The key (PKCS#8, PKCS#1 or SEC1).
    pub key: Pem,
}

/// Certificates of a server and what it asks of its clients. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls(Arc<Reloading<ServerTlsOptions>>);

/// Settings of [`ServerTls`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsOptions {
    /// What is spoken inside.
    pub protocol: Protocol,
    /// How the server shows who it is.
    pub identity: Identity,
    /// Clients must show a certificate that one of these signed; without, they need none.
    pub client_authorities: Option<Pem>,
    /// The certificate must carry one of these names too: exactly, as a DNS name or URI among its alternative names.
    /// Empty: any name will do.
    pub client_names: Vec<String>,
}

/// What a client trusts and how it shows who it is. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<Reloading<ClientTlsOptions>>,
    server_name: Option<String>,
}

/// Settings of [`ClientTls`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsOptions {
    /// The only authorities to trust; without, the system's and the bundled ones.
    pub authorities: Option<Pem>,
    /// For servers that ask who we are.
    pub identity: Option<Identity>,
    /// The name the server must prove, when it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not PEM, or not what was expected in it.
    #[error("{name}: {problem}")]
    Pem {
        /// The file, or what the text is for.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Readable, but it does not fit together.
    #[error("{name}: {source}")]
    Unusable {
        /// The file, or what the text is for.
        name: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl Pem {
    /// Reads a file, which servers and clients then follow.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let text = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
        Ok(Self { name: path.display().to_string(), file: Some(path.to_owned()), text: text.into() })
    }

    /// Takes text that came another way; `name` says in errors what it is.
    pub fn new(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), file: None, text: Zeroizing::new(text.into()) }
    }

    fn read_again(&self) -> Result<Self, TlsError> {
        self.file.as_deref().map_or_else(|| Ok(self.clone()), Self::read)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.invalid(problem(&error).to_owned()))?;
        if certificates.is_empty() {
            return Err(self.invalid("it holds no certificate".to_owned()));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|error| self.invalid(format!("no private key: {}", problem(&error))))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|source| self.unusable(source))?;
        }
        Ok(roots)
    }

    /// What is wrong with the time of its certificates.
    fn complaints(&self) -> Vec<Complaint> {
        let certificates = self.certificates().unwrap_or_default();
        certificates.iter().filter_map(|certificate| validity::complaint(&self.name, certificate)).collect()
    }

    fn invalid(&self, problem: String) -> TlsError {
        TlsError::Pem { name: self.name.clone(), problem }
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable { name: self.name.clone(), source }
    }
}

impl std::fmt::Debug for Pem {
    /// The name only: the text may be a key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pem").field(&self.name).finish()
    }
}

impl Identity {
    /// Reads both files.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { certificates: Pem::read(certificates)?, key: Pem::read(key)? })
    }

    fn is_on_disk(&self) -> bool {
        self.certificates.file.is_some() || self.key.file.is_some()
    }

    fn read_again(&self) -> Result<Self, TlsError> {
        Ok(Self { certificates: self.certificates.read_again()?, key: self.key.read_again()? })
    }
}

impl ServerTls {
    /// A server with the files that a configuration names.
    pub fn read(protocol: Protocol, files: &engine_config::ServerTls) -> Result<Self, TlsError> {
        Self::with_options(&ServerTlsOptions {
            client_authorities: files.client_ca.as_deref().map(Pem::read).transpose()?,
            client_names: files.client_names.clone(),
            ..ServerTlsOptions::new(protocol, Identity::read(&files.certificate, &files.key)?)
        })
    }

    /// A server with this identity for one protocol. With `client_authorities`, clients must show a certificate that
    /// one of them signed.
    pub fn new(protocol: Protocol, identity: &Identity, client_authorities: Option<&Pem>) -> Result<Self, TlsError> {
        let options = ServerTlsOptions::new(protocol, identity.clone());
        Self::with_options(&ServerTlsOptions { client_authorities: client_authorities.cloned(), ..options })
    }

    /// A server with these settings.
    pub fn with_options(options: &ServerTlsOptions) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Reloading::new(options.clone())?)))
    }

    /// The same, looking for changed files at most every `interval` instead of every 10 s.
    pub fn looking_every(self, interval: Duration) -> Result<Self, TlsError> {
        let options = self.0.material();
        Ok(Self(Arc::new(Reloading::new(options)?.looking_every(interval))))
    }

    /// Has `ear` hear what is wrong with the certificates now and later. The first one stays.
    pub fn report_to(&self, ear: impl Fn(Complaint) + Send + Sync + 'static) {
        self.0.report_to(ear);
    }

    /// What takes new connections, with the certificates as they are now.
    pub async fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current().await)
    }
}

impl ServerTlsOptions {
    /// Clients need no certificate.
    pub fn new(protocol: Protocol, identity: Identity) -> Self {
        Self { protocol, identity, client_authorities: None, client_names: Vec::new() }
    }
}

impl Material for ServerTlsOptions {
    type Made = ServerConfig;
    type Error = TlsError;
    const NAME: &'static str = CERTIFICATES;

    fn is_on_disk(&self) -> bool {
        self.identity.is_on_disk() || self.client_authorities.as_ref().is_some_and(|pem| pem.file.is_some())
    }

    fn read_again(&self) -> Result<Self, TlsError> {
        let client_authorities = self.client_authorities.as_ref().map(Pem::read_again).transpose()?;
        let (protocol, client_names) = (self.protocol, self.client_names.clone());
        Ok(Self { protocol, identity: self.identity.read_again()?, client_authorities, client_names })
    }

    fn make(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("ring supports both versions");
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let roots = Arc::new(authorities.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| authorities.invalid(error.to_string()))?;
                builder.with_client_cert_verifier(NamedClients::among(verifier, &self.client_names))
            }
        };
        let Identity { certificates, key } = &self.identity;
        let mut config = builder
            .with_single_cert(certificates.certificates()?, key.private_key()?)
            .map_err(|source| certificates.unusable(source))?;
        config.alpn_protocols = alpn(self.protocol);
        Ok(config)
    }

    fn complaints(&self) -> Vec<Complaint> {
        let authorities = self.client_authorities.iter().flat_map(Pem::complaints);
        self.identity.certificates.complaints().into_iter().chain(authorities).collect()
    }
}

impl ClientTls {
    /// A client with these settings.
    pub fn new(options: &ClientTlsOptions) -> Result<Self, TlsError> {
        let config = Arc::new(Reloading::new(options.clone())?);
        Ok(Self { config, server_name: options.server_name.clone() })
    }

    /// The same, looking for changed files at most every `interval` instead of every 10 s.
    pub fn looking_every(self, interval: Duration) -> Result<Self, TlsError> {
        let config = Arc::new(Reloading::new(self.config.material())?.looking_every(interval));
        Ok(Self { config, ..self })
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What a connector that speaks `protocol` needs for a new connection.
    pub(crate) async fn config_for(&self, protocol: Protocol) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&*self.config.current().await);
        config.alpn_protocols = alpn(protocol);
        Arc::new(config)
    }
}

impl Material for ClientTlsOptions {
    type Made = ClientConfig;
    type Error = TlsError;
    const NAME: &'static str = CERTIFICATES;

    fn is_on_disk(&self) -> bool {
        self.authorities.as_ref().is_some_and(|pem| pem.file.is_some())
            || self.identity.as_ref().is_some_and(Identity::is_on_disk)
    }

    fn read_again(&self) -> Result<Self, TlsError> {
        Ok(Self {
            authorities: self.authorities.as_ref().map(Pem::read_again).transpose()?,
            identity: self.identity.as_ref().map(Identity::read_again).transpose()?,
            server_name: self.server_name.clone(),
        })
    }

    fn make(&self) -> Result<ClientConfig, TlsError> {
        let roots = match &self.authorities {
            Some(authorities) => Arc::new(authorities.roots()?),
            None => default_roots(),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("ring supports both versions")
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(Identity { certificates, key }) => builder
                .with_client_auth_cert(certificates.certificates()?, key.private_key()?)
                .map_err(|source| certificates.unusable(source)),
        }
    }

    fn complaints(&self) -> Vec<Complaint> {
        let identity = self.identity.iter().flat_map(|identity| identity.certificates.complaints());
        identity.chain(self.authorities.iter().flat_map(Pem::complaints)).collect()
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// What is wrong with a PEM text, without any of it: the library's own words repeat a line, which in a key that lost its
/// line ends is the key.
fn problem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "no such section is in it",
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the line that begins a section is not one of its own",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    }
}

/// What is offered in the handshake, best first.
fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The system's authorities and the bundled ones, read once per process. Images without a trust store still work,
/// and a company's own authority in the system's store is trusted.
fn default_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "cannot read a system trust root");
        }
        let (_, ignored) = roots.add_parsable_certificates(native.certs);
        if ignored > 0 {
            tracing::warn!(ignored, "some system trust roots cannot be used");
        }
        Arc::new(roots)
    });
    Arc::clone(roots)
}
