//! Clients that are let in by name: certificates of the right authority, and of the right holder.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

/// Lets in who shows a certificate that `trusted` takes and that carries one of the names.
#[derive(Debug)]
pub(super) struct NamedClients {
    trusted: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

/// A client with other names. Says which, because the way out is to allow one of them.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate carries none of the allowed names, but {carried:?}")]
struct NotAllowed {
    carried: Vec<String>,
}

impl NamedClients {
    /// The verifier that also looks at names, if there are any to look for.
    pub(super) fn among(trusted: Arc<dyn ClientCertVerifier>, names: &[String]) -> Arc<dyn ClientCertVerifier> {
        if names.is_empty() {
            return trusted;
        }
        Arc::new(Self { trusted, names: names.to_vec() })
    }
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trusted.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.trusted.verify_client_cert(end_entity, intermediates, now)?;
        let malformed = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = EndEntityCert::try_from(end_entity).map_err(malformed)?;
        // Case does not count in DNS names, and does in URIs.
        let is_dns = |name: &str| self.names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        let is_uri = |name: &str| self.names.iter().any(|allowed| allowed == name);
        if certificate.valid_dns_names().any(is_dns) || certificate.valid_uri_names().any(is_uri) {
            return Ok(verified);
        }
        let carried = certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect();
        let refusal = OtherError(Arc::new(NotAllowed { carried }));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(refusal)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}
