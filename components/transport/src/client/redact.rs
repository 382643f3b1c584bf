//! Covers secrets in the words of peers: a server that refuses may repeat what it was sent, and its words go into logs.
//!
//! Works on texts that are at hand anyway, and keeps no secret. What peers do to a secret before they repeat it is
//! known for the usual encodings only.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_core::outcome::Outcome;
use http::{HeaderName, HeaderValue};

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter texts are no secrets, and would be found everywhere.
const SHORTEST: usize = 6;

/// An outcome whose words hold no value of a sensitive header, nor credentials out of one.
pub(super) fn outcome(outcome: Outcome, headers: &[(HeaderName, HeaderValue)]) -> Outcome {
    let covered = |text: String| text_without(text, &credentials(headers));
    match outcome {
        Outcome::Delivered => Outcome::Delivered,
        Outcome::Partial { rejected, message } => Outcome::Partial { rejected, message: covered(message) },
        Outcome::Retry { after, reason } => Outcome::Retry { after, reason: covered(reason) },
        Outcome::Rejected(mut rejection) => {
            rejection.message = covered(rejection.message);
            Outcome::Rejected(rejection)
        }
    }
}

/// A text in which none of the secrets stands, nor the beginning of one at its end, where long texts are cut.
pub(super) fn text_without(text: String, secrets: &[Cow<'_, str>]) -> String {
    let mut longest_first: Vec<&str> =
        secrets.iter().map(|secret| &**secret).filter(|secret| secret.len() >= SHORTEST).collect();
    longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut covered = text;
    for secret in longest_first {
        if covered.contains(secret) {
            covered = covered.replace(secret, REDACTED);
        }
        let end = covered.strip_suffix("...").map_or(covered.len(), str::len);
        let beginnings = secret.char_indices().map(|(index, _)| index).filter(|index| *index >= SHORTEST).rev();
        if let Some(length) = beginnings.into_iter().find(|length| covered[..end].ends_with(&secret[..*length])) {
            covered.replace_range(end - length..end, REDACTED);
        }
    }
    covered
}

/// The values of sensitive headers, and what stands in them behind a scheme: a token, or a password.
fn credentials(headers: &[(HeaderName, HeaderValue)]) -> Vec<Cow<'_, str>> {
    let mut found = Vec::new();
    let sensitive = headers.iter().map(|(_, value)| value).filter(|value| value.is_sensitive());
    for value in sensitive.filter_map(|value| value.to_str().ok()) {
        found.push(Cow::Borrowed(value));
        let Some((scheme, credentials)) = value.split_once(' ') else { continue };
        found.push(Cow::Borrowed(credentials));
        if !scheme.eq_ignore_ascii_case("basic") {
            continue;
        }
        let decoded = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(decoded) = decoded else { continue };
        if let Some((_, password)) = decoded.split_once(':') {
            found.push(Cow::Owned(password.to_owned()));
        }
        found.push(Cow::Owned(decoded));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &'static str) -> (HeaderName, HeaderValue) {
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(true);
        (http::header::AUTHORIZATION, value)
    }

    fn cover(reason: &str) -> String {
        let plain = (HeaderName::from_static("x-tenant"), HeaderValue::from_static("tenant-7"));
        let headers = [header("Bearer open sesame"), header("Basic QWxhZGRpbjpodW50ZXIy"), header("k3y"), plain];
        match outcome(Outcome::retry(reason.to_owned()), &headers) {
            Outcome::Retry { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Whole values, tokens without their scheme, and passwords, also where a text was cut.
    #[test]
    fn covers_credentials() {
        for (told, expected) in [
            ("no `Bearer open sesame` here", "no `[redacted]` here"),
            ("token open sesame", "token [redacted]"),
            ("password hunter2 of Aladdin?", "password [redacted] of Aladdin?"),
            ("Basic QWxhZGRpbjpodW50ZXIy, Aladdin:hunter2", "[redacted], [redacted]"),
            ("it was open sesam...", "it was [redacted]..."),
            ("it was Bearer open s", "it was [redacted]"),
            ("tenant-7 at k3y of open", "tenant-7 at k3y of open"),
        ] {
            assert_eq!(cover(told), expected);
        }
    }
}
