//! Certificates and keys of a pipeline: whether they can be read, belong together, and how long they last.
//!
//! Whether a backend accepts them is seen when data flows.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

use super::problem::{Problem, Reason};
use crate::collect::Tls;
use crate::date;
use crate::render::files::repaired;

/// So long before its end a certificate is warned of, in seconds.
pub const WARNING: i64 = 14 * 24 * 3600;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// To show who we are.
    Client,
    /// To judge who the backend is.
    Authority,
}

/// The end of a certificate that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Which one.
    pub certificate: Certificate,
    /// Seconds since 1970.
    pub at: i64,
}

/// Judges all of them at a moment in seconds since 1970. What works says when it ends.
pub fn check(tls: &Tls, now: i64) -> Result<Vec<Expiry>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut expiries = Vec::new();
    if let Some((certificate, key)) = &tls.client {
        let (certificate, key) = (repaired(certificate.content.expose()), repaired(key.content.expose()));
        match client(&certificate, &key) {
            Ok(at) => expiries.push(Expiry { certificate: Certificate::Client, at }),
            Err(message) => problems.push(invalid(message)),
        }
    }
    if let Some(ca) = &tls.ca {
        match authorities(&repaired(ca.content.expose()), now) {
            Ok(at) => expiries.push(Expiry { certificate: Certificate::Authority, at }),
            Err(message) => problems.push(invalid(message)),
        }
    }
    for expiry in expiries.iter().filter(|expiry| expiry.at <= now) {
        let message = format!(
            "{} expired on {}; replace it where it was taken from",
            expiry.certificate.title(),
            date::day(expiry.at)
        );
        problems.push(Problem::new(Reason::TlsCertificateExpired, message));
    }
    if problems.is_empty() { Ok(expiries) } else { Err(problems) }
}

/// The end of a client's certificate, which is that of the first of its chain.
fn client(certificate: &str, key: &str) -> Result<i64, String> {
    let chain = chain(certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "failed to decode PEM block containing private key".to_owned())?;
    let at = with_certificate(&chain[0], "certificate", |certificate| certificate.validity().not_after.timestamp())?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(at),
        Err(rustls::Error::InconsistentKeys(_)) => Err("certificate and private key do not match".to_owned()),
        Err(error) => Err(format!("failed to parse private key: {error}")),
    }
}

/// The end of the last authority that is valid: a bundle holds old ones for those whose certificates are old.
fn authorities(bundle: &str, now: i64) -> Result<i64, String> {
    let mut ends = Vec::new();
    for certificate in &chain(bundle, "CA certificate")? {
        let (is_authority, end) = with_certificate(certificate, "CA certificate", |certificate| {
            (certificate.is_ca(), certificate.validity().not_after.timestamp())
        })?;
        if !is_authority {
            return Err("not a CA certificate: it may not sign others".to_owned());
        }
        ends.push(end);
    }
    // One that has ended makes no harm beside one that has not.
    let valid = ends.iter().copied().filter(|end| *end > now);
    Ok(valid.min().or_else(|| ends.iter().copied().max()).unwrap_or_default())
}

fn chain<'c>(pem: &str, what: &str) -> Result<Vec<CertificateDer<'c>>, String> {
    let blocks: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match blocks {
        Ok(blocks) if !blocks.is_empty() => Ok(blocks),
        Ok(_) | Err(_) => Err(format!("failed to decode PEM block containing {what}")),
    }
}

fn with_certificate<T>(
    certificate: &CertificateDer<'_>,
    what: &str,
    read: impl Fn(&X509Certificate<'_>) -> T,
) -> Result<T, String> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| format!("failed to parse {what}"))?;
    Ok(read(&parsed))
}

fn invalid(message: String) -> Problem {
    Problem::new(Reason::TlsConfigurationInvalid, format!("TLS configuration invalid: {message}"))
}

impl Certificate {
    /// What it is called in messages.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Client => "TLS certificate",
            Self::Authority => "TLS CA certificate",
        }
    }
}
