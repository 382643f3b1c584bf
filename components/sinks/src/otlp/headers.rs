//! The headers of requests: texts of the configuration, and secrets that are read from variables and files.
//!
//! Files are followed (`transport::reload`), so that a rotated token needs no restart. What a header is for, and what a
//! wrong one leads to, is a matter between the backend and the user.

use std::env::VarError;
use std::io;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::HeaderValue as Configured;
use engine_config::{SecretRef, SecretString};
use http::{HeaderName, HeaderValue};
use transport::client::{Client, ClientError};
use transport::reload::Material;

/// A client without headers, and the headers that are put into it.
#[derive(Clone)]
pub(super) struct Headers {
    client: Client,
    headers: Vec<Header>,
}

/// Why a header cannot be sent. Never says its value.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The configuration was built by a program, and not checked.
    #[error("`{name}` is not the name of a header")]
    Name {
        /// The name.
        name: String,
    },
    /// The secret cannot be read.
    #[error("header `{name}`: cannot read {reference}: {source}")]
    Unreadable {
        /// The header.
        name: HeaderName,
        /// Where the secret should be.
        reference: SecretRef,
        /// The system's answer.
        source: io::Error,
    },
    /// The text is binary, or of several lines.
    #[error("header `{name}`: its value has characters that a header cannot have")]
    Unsendable {
        /// The header.
        name: HeaderName,
    },
    /// The client does not take them.
    #[error(transparent)]
    Client(#[from] ClientError),
}

#[derive(Clone, PartialEq, Eq)]
struct Header {
    name: HeaderName,
    /// Where its secret comes from; none for a text of the configuration.
    reference: Option<SecretRef>,
    prefix: Option<String>,
    text: SecretString,
}

impl Headers {
    /// The headers of these options, with their secrets read.
    pub(super) fn read(client: Client, options: &OtlpSink) -> Result<Self, HeaderError> {
        let headers =
            options.headers.iter().map(|(name, value)| Header::read(name, value)).collect::<Result<_, _>>()?;
        Ok(Self { client, headers })
    }
}

impl Material for Headers {
    type Made = Client;
    type Error = HeaderError;
    const NAME: &'static str = "secrets in headers";

    fn is_on_disk(&self) -> bool {
        self.headers.iter().any(|header| matches!(header.reference, Some(SecretRef::File(_))))
    }

    fn read_again(&self) -> Result<Self, HeaderError> {
        let headers = self.headers.iter().map(Header::read_again).collect::<Result<_, _>>()?;
        Ok(Self { client: self.client.clone(), headers })
    }

    fn make(&self) -> Result<Client, HeaderError> {
        let headers = self.headers.iter().map(Header::to_send).collect::<Result<_, _>>()?;
        Ok(self.client.with_headers(headers)?)
    }
}

/// Two are equal when they send the same.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.headers == other.headers
    }
}

impl Header {
    fn read(name: &str, value: &Configured) -> Result<Self, HeaderError> {
        let name = HeaderName::try_from(name).map_err(|_| HeaderError::Name { name: name.to_owned() })?;
        match value {
            Configured::Plain(text) => {
                Ok(Self { name, reference: None, prefix: None, text: SecretString::new(text.expose()) })
            }
            Configured::Secret(secret) => {
                let text = read_secret(&name, &secret.secret)?;
                Ok(Self { name, reference: Some(secret.secret.clone()), prefix: secret.prefix.clone(), text })
            }
        }
    }

    fn read_again(&self) -> Result<Self, HeaderError> {
        match &self.reference {
            Some(reference) => Ok(Self { text: read_secret(&self.name, reference)?, ..self.clone() }),
            None => Ok(self.clone()),
        }
    }

    fn to_send(&self) -> Result<(HeaderName, HeaderValue), HeaderError> {
        let text = match &self.prefix {
            Some(prefix) => SecretString::new(format!("{prefix} {}", self.text.expose())),
            None => self.text.clone(),
        };
        // The error of a wrong value is not passed on: it could say the value.
        let unsendable = |_| HeaderError::Unsendable { name: self.name.clone() };
        let mut value = HeaderValue::try_from(text.expose()).map_err(unsendable)?;
        value.set_sensitive(true);
        Ok((self.name.clone(), value))
    }
}

/// The secret without the line end that editors put at the end of a file.
fn read_secret(name: &HeaderName, reference: &SecretRef) -> Result<SecretString, HeaderError> {
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
    filled.map_err(|source| HeaderError::Unreadable { name: name.clone(), reference: reference.clone(), source })
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
