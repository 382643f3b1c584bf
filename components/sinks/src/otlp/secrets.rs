//! Texts that may be secret, each with where it comes from, so that it can be read again.
//!
//! When that is due is the matter of `transport::reload`. Nothing here prints a text.

use std::env::VarError;
use std::io;
use std::sync::Arc;

use engine_config::sinks::otlp::auth::TextOrSecret;
use engine_config::{SecretRef, SecretString};

/// A text and where it comes from. Two are equal when they say the same.
#[derive(Clone)]
pub(super) struct Secret {
    /// What errors call it.
    name: Arc<str>,
    /// None for a text of the configuration.
    reference: Option<SecretRef>,
    text: SecretString,
}

/// A secret that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot read {reference}: {source}")]
pub(super) struct SecretError {
    name: Arc<str>,
    reference: SecretRef,
    source: io::Error,
}

impl Secret {
    /// A text of the configuration.
    pub(super) fn plain(name: impl Into<Arc<str>>, text: &str) -> Self {
        Self { name: name.into(), reference: None, text: SecretString::new(text) }
    }

    /// What a reference leads to.
    pub(super) fn read(name: impl Into<Arc<str>>, reference: &SecretRef) -> Result<Self, SecretError> {
        let name = name.into();
        let text = read(&name, reference)?;
        Ok(Self { name, reference: Some(reference.clone()), text })
    }

    pub(super) fn of(name: &str, value: &TextOrSecret) -> Result<Self, SecretError> {
        match value {
            TextOrSecret::Text(text) => Ok(Self::plain(name, text)),
            TextOrSecret::Secret(secret) => Self::read(name, &secret.secret),
        }
    }

    pub(super) fn read_again(&self) -> Result<Self, SecretError> {
        match &self.reference {
            Some(reference) => Ok(Self { text: read(&self.name, reference)?, ..self.clone() }),
            None => Ok(self.clone()),
        }
    }

    /// Whether it is a file, which can change.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self.reference, Some(SecretRef::File(_)))
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn expose(&self) -> &str {
        self.text.expose()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The secret without the line end that editors put at the end of a file.
fn read(name: &Arc<str>, reference: &SecretRef) -> Result<SecretString, SecretError> {
    let read = match reference {
        SecretRef::File(path) => std::fs::read_to_string(path),
        SecretRef::Directory(_) => Err(io::Error::other("a plan did not resolve it")),
        SecretRef::Env(variable) => std::env::var(variable).map_err(unreadable),
    };
    let filled = read.and_then(|text| match text.trim_end_matches(['\r', '\n']) {
        // Also what is seen of a file that is being written.
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        secret => Ok(SecretString::new(secret)),
    });
    filled.map_err(|source| SecretError { name: Arc::clone(name), reference: reference.clone(), source })
}

/// Why a variable cannot be read. The standard library's text of one that is not UTF-8 would say its value.
fn unreadable(error: VarError) -> io::Error {
    match error {
        VarError::NotPresent => io::Error::new(io::ErrorKind::NotFound, "it is not set"),
        VarError::NotUnicode(_) => io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8"),
    }
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
