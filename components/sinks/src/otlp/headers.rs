//! The headers of requests: texts of the configuration, and secrets that are read from variables and files.
//!
//! Files are followed (`transport::reload`), so that a rotated token needs no restart. What a header is for, and what a
//! wrong one leads to, is a matter between the backend and the user. Tokens that are issued are not here (`oauth2`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::HeaderValue as Configured;
use engine_config::sinks::otlp::auth::BasicAuth;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use transport::client::{Client, ClientError};
use transport::reload::Material;

use super::secrets::{Secret, SecretError};

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
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    /// The text is binary, or of several lines.
    #[error("{name}: its value has characters that a header cannot have")]
    Unsendable {
        /// What it is.
        name: Arc<str>,
    },
    /// The first colon of a name and a password is the one between them.
    #[error("{name}: a name in basic credentials has no colon")]
    Colon {
        /// What it is.
        name: Arc<str>,
    },
    /// The client does not take them.
    #[error(transparent)]
    Client(#[from] ClientError),
}

#[derive(Clone, PartialEq)]
struct Header {
    name: HeaderName,
    content: Content,
}

/// What a header says.
#[derive(Clone, PartialEq)]
pub(super) enum Content {
    /// A text.
    Plain(Secret),
    /// A text behind another one.
    Prefixed(Arc<str>, Secret),
    /// A name and a password.
    Basic(Secret, Secret),
}

impl Headers {
    /// The headers of these options, with their secrets read.
    pub(super) fn read(client: Client, options: &OtlpSink) -> Result<Self, HeaderError> {
        let mut headers =
            options.headers.iter().map(|(name, value)| Header::read(name, value)).collect::<Result<Vec<_>, _>>()?;
        let auth = options.auth.as_ref();
        if let Some(BasicAuth { username, password }) = auth.and_then(|auth| auth.basic.as_ref()) {
            let username = Secret::of("`auth.basic.username`", username)?;
            let password = Secret::read("`auth.basic.password`", password)?;
            headers.push(Header { name: AUTHORIZATION, content: Content::Basic(username, password) });
        }
        if let Some(bearer) = auth.and_then(|auth| auth.bearer.as_ref()) {
            let token = Secret::read("`auth.bearer.token`", &bearer.token)?;
            headers.push(Header { name: AUTHORIZATION, content: Content::Prefixed("Bearer".into(), token) });
        }
        Ok(Self { client, headers })
    }
}

impl Material for Headers {
    type Made = Client;
    type Error = HeaderError;
    const NAME: &'static str = "secrets in headers";

    fn is_on_disk(&self) -> bool {
        self.headers.iter().any(|header| header.content.is_on_disk())
    }

    fn read_again(&self) -> Result<Self, HeaderError> {
        let again = |header: &Header| {
            Ok::<_, HeaderError>(Header { name: header.name.clone(), content: header.content.read_again()? })
        };
        let headers = self.headers.iter().map(again).collect::<Result<_, _>>()?;
        Ok(Self { client: self.client.clone(), headers })
    }

    fn make(&self) -> Result<Client, HeaderError> {
        let to_send = |header: &Header| Ok::<_, HeaderError>((header.name.clone(), header.content.to_send()?));
        let headers = self.headers.iter().map(to_send).collect::<Result<_, _>>()?;
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
        let called = format!("header `{name}`");
        let content = match value {
            Configured::Plain(text) => Content::Plain(Secret::plain(called, text.expose())),
            Configured::Secret(secret) => {
                let text = Secret::read(called, &secret.secret)?;
                match &secret.prefix {
                    Some(prefix) => Content::Prefixed(prefix.as_str().into(), text),
                    None => Content::Plain(text),
                }
            }
        };
        Ok(Self { name, content })
    }
}

impl Content {
    pub(super) fn is_on_disk(&self) -> bool {
        match self {
            Self::Plain(text) | Self::Prefixed(_, text) => text.is_on_disk(),
            Self::Basic(username, password) => username.is_on_disk() || password.is_on_disk(),
        }
    }

    pub(super) fn read_again(&self) -> Result<Self, SecretError> {
        Ok(match self {
            Self::Plain(text) => Self::Plain(text.read_again()?),
            Self::Prefixed(prefix, text) => Self::Prefixed(Arc::clone(prefix), text.read_again()?),
            Self::Basic(username, password) => Self::Basic(username.read_again()?, password.read_again()?),
        })
    }

    pub(super) fn to_send(&self) -> Result<HeaderValue, HeaderError> {
        let (name, value) = match self {
            Self::Plain(text) => (text.name(), HeaderValue::try_from(text.expose())),
            Self::Prefixed(prefix, text) => (text.name(), HeaderValue::try_from(format!("{prefix} {}", text.expose()))),
            Self::Basic(username, password) => {
                if username.expose().contains(':') {
                    return Err(HeaderError::Colon { name: Arc::clone(username.name()) });
                }
                let joined = STANDARD.encode(format!("{}:{}", username.expose(), password.expose()));
                (password.name(), HeaderValue::try_from(format!("Basic {joined}")))
            }
        };
        // The error of a wrong value is not passed on: it could say the value.
        let mut value = value.map_err(|_| HeaderError::Unsendable { name: Arc::clone(name) })?;
        value.set_sensitive(true);
        Ok(value)
    }
}
