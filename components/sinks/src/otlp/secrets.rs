//! Texts that may be secret, each with where it comes from, so that it can be read again.
//!
//! When that is due is the matter of `transport::reload`. Nothing here prints a text.

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

fn read(name: &Arc<str>, reference: &SecretRef) -> Result<SecretString, SecretError> {
    transport::secret::read(reference).map_err(|source| SecretError {
        name: Arc::clone(name),
        reference: reference.clone(),
        source,
    })
}
