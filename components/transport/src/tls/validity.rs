//! Certificates whose time is over or has not come: they can be read and used, and peers refuse them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::reload::Complaint;

/// The kind of complaint about a certificate that is not valid any more.
pub(super) const CERTIFICATE_EXPIRED: &str = "certificate_expired";

/// The kind of complaint about a certificate that is not valid yet.
pub(super) const CERTIFICATE_NOT_YET_VALID: &str = "certificate_not_yet_valid";

/// What is wrong with the time of a certificate; `name` says where it comes from.
pub(super) fn complaint(name: &str, certificate: &CertificateDer<'_>) -> Option<Complaint> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // Time is judged before anybody looks for who signed it, and nobody is trusted here.
    let judged = certificate.verify_for_usage(&[], &[], &[], UnixTime::now(), KeyUsage::server_auth(), None, None);
    let (kind, message) = match judged.err()? {
        Error::CertExpired { not_after, .. } => {
            (CERTIFICATE_EXPIRED, format!("{name}: a certificate has expired on {}", date(not_after)))
        }
        Error::CertNotValidYet { not_before, .. } => {
            (CERTIFICATE_NOT_YET_VALID, format!("{name}: a certificate is not valid before {}", date(not_before)))
        }
        _ => return None,
    };
    Some(Complaint { kind, message })
}

fn date(time: UnixTime) -> String {
    // Nothing in a certificate is beyond what the platform can count, except for the end of all time.
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(SystemTime::UNIX_EPOCH);
    httpdate::fmt_http_date(moment)
}
