//! Asks an authorization server for a token: the client credentials grant of RFC 6749, section 4.4.
//!
//! One question, one answer. Keeping tokens and asking again is the caller's work. No error says a secret or a token.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use otlp::Rope;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::Protocol;
use crate::client::body::RequestBody;
use crate::client::dial::Dialer;
use crate::client::handshake::Dialed;
use crate::client::{ClientError, ClientOptions, Head, Proxy, describe, head, redact, response};
use crate::status::shorten;
use crate::tls::ClientTls;

/// What an `application/x-www-form-urlencoded` text must escape.
const FORM_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// Tokens with many claims take kilobytes; nothing of use is larger than this.
const MAX_ANSWER: usize = 1024 * 1024;

/// Settings of a [`TokenEndpoint`].
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// Where tokens are issued.
    pub url: Uri,
    /// Trust and identity for `https://`.
    pub tls: Option<ClientTls>,
    /// The way there, if it is not direct.
    pub proxy: Option<Proxy>,
    /// Time for one question, from connecting to the end of the answer.
    pub timeout: Duration,
}

/// An authorization server. Each question makes a connection of its own.
pub struct TokenEndpoint {
    url: String,
    dialer: Dialer,
    head: Head,
    timeout: Duration,
}

/// Who asks, and for what.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// The client's id.
    pub id: String,
    /// The client's secret.
    pub secret: String,
    /// How id and secret are shown.
    pub shown: ShownIn,
    /// Scopes.
    pub scopes: Vec<String>,
    /// More parameters.
    pub parameters: Vec<(String, String)>,
}

/// How a client shows its id and secret (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownIn {
    /// In the `authorization` header.
    Header,
    /// In the body.
    Body,
}

/// A token as requests carry it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The value of the `authorization` header.
    pub authorization: HeaderValue,
    /// How long it is good for, if the server says so.
    pub lifetime: Option<Duration>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("cannot get a token from {url}: {problem}")]
pub struct TokenError {
    url: String,
    problem: String,
    retry_after: Option<Duration>,
    kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Refused,
    Other,
}

/// An error before it is known whose it is.
struct Problem {
    text: String,
    retry_after: Option<Duration>,
    kind: ErrorKind,
}

impl TokenError {
    /// The wait that the server asks for, or that a failed connection needs.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the server refused the client or what it asked for: with another secret it may do otherwise.
    pub fn is_refusal(&self) -> bool {
        self.kind == ErrorKind::Refused
    }
}

impl TokenEndpoint {
    /// Checks the options. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the address cannot be used, or the trust roots cannot.
    pub fn new(options: TokenOptions) -> Result<Self, ClientError> {
        let TokenOptions { url, tls, proxy, timeout } = options;
        let mut client = ClientOptions::new(url.clone(), Protocol::Http);
        client.tls = tls;
        client.proxy = proxy;
        client.timeout = timeout;
        client.connect_timeout = client.connect_timeout.min(timeout);
        let dialer = Dialer::new(&client)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let fixed = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        let head = head(&client, path, &fixed)?;
        Ok(Self { url: url.to_string(), dialer, head, timeout })
    }

    /// Asks for a token, once.
    ///
    /// # Errors
    ///
    /// When the server does not answer in time, refuses, or answers something that is no bearer token.
    pub async fn request(&self, credentials: &ClientCredentials) -> Result<Token, TokenError> {
        let answer = match tokio::time::timeout(self.timeout, self.exchange(credentials)).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::other(format!("no answer within {:?}", self.timeout))),
        };
        answer.map_err(|Problem { text, retry_after, kind }| {
            let problem = redact::text_without(text, &credentials.secrets());
            TokenError { url: self.url.clone(), problem, retry_after, kind }
        })
    }

    async fn exchange(&self, credentials: &ClientCredentials) -> Result<Token, Problem> {
        let dialed = self.dialer.dial(None).await.map_err(|error| Problem {
            text: error.to_string(),
            retry_after: error.retry_after(),
            kind: ErrorKind::Other,
        })?;
        let response = match dialed {
            Dialed::Http2(mut sender) => sender.send_request(self.question(&self.head.absolute, credentials)?).await,
            Dialed::Http1(mut sender) => sender.send_request(self.question(&self.head.relative, credentials)?).await,
        };
        let response = response.map_err(|error| Problem::other(describe(&error)))?;
        let (head, body) = response.into_parts();
        let body = response::read_whole(&head.headers, body, MAX_ANSWER).await.map_err(Problem::other)?;
        read_answer(head.status, &head.headers, &body)
    }

    fn question(
        &self,
        template: &Request<()>,
        credentials: &ClientCredentials,
    ) -> Result<Request<RequestBody>, Problem> {
        let body = Rope::from(Bytes::from(credentials.form()));
        let mut request = template.clone().map(|()| RequestBody::new(body));
        if credentials.shown == ShownIn::Header {
            request.headers_mut().insert(header::AUTHORIZATION, credentials.basic());
        }
        Ok(request)
    }
}

impl ClientCredentials {
    fn form(&self) -> String {
        let mut form = "grant_type=client_credentials".to_owned();
        let mut add = |name: &str, value: &str| {
            form.push_str(&format!("&{}={}", escaped(name), escaped(value)));
        };
        if !self.scopes.is_empty() {
            add("scope", &self.scopes.join(" "));
        }
        if self.shown == ShownIn::Body {
            add("client_id", &self.id);
            add("client_secret", &self.secret);
        }
        for (name, value) in &self.parameters {
            add(name, value);
        }
        form
    }

    /// What a server may repeat of a question, in the forms in which it is sent.
    fn secrets(&self) -> Vec<Cow<'_, str>> {
        let basic = STANDARD.encode(format!("{}:{}", escaped(&self.id), escaped(&self.secret)));
        let mut secrets = vec![Cow::from(self.secret.as_str()), escaped(&self.secret).into(), basic.into()];
        for (_, value) in &self.parameters {
            secrets.extend([Cow::from(value.as_str()), escaped(value).into()]);
        }
        secrets
    }

    /// Id and secret are escaped before they are joined (RFC 6749, section 2.3.1), so that both may hold anything.
    fn basic(&self) -> HeaderValue {
        let joined = STANDARD.encode(format!("{}:{}", escaped(&self.id), escaped(&self.secret)));
        let mut value = HeaderValue::try_from(format!("Basic {joined}")).expect("base64 is a valid header value");
        value.set_sensitive(true);
        value
    }
}

impl Problem {
    fn other(text: impl Into<String>) -> Self {
        Self { text: text.into(), retry_after: None, kind: ErrorKind::Other }
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, FORM_ESCAPES).to_string()
}

/// RFC 6749, sections 5.1 and 5.2.
fn read_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Token, Problem> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name: &str| answer.as_ref().and_then(|answer| answer.get(name)).and_then(Value::as_str);
    if !status.is_success() {
        let location = headers.get(header::LOCATION).filter(|_| status.is_redirection());
        let told = match (text("error"), text("error_description"), location) {
            (_, _, Some(to)) => format!(" to {}, which is not followed", String::from_utf8_lossy(to.as_bytes())),
            (Some(error), Some(description), _) => format!(": {error}: {description}"),
            (Some(error), None, _) => format!(": {error}"),
            (None, _, _) => String::new(),
        };
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Refused,
            _ => ErrorKind::Other,
        };
        let text = shorten(&format!("http status {status}{told}")).into_owned();
        return Err(Problem { text, retry_after: response::retry_after(headers), kind });
    }
    let token = text("access_token").ok_or_else(|| Problem::other("the answer holds no access_token"))?;
    if let Some(other) = text("token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(Problem::other(format!("its tokens are of type {:?}, not bearer", shorten(other))));
    }
    // The error of a wrong value is not passed on: it could say the value.
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Problem::other("the token has characters that a header cannot have"))?;
    authorization.set_sensitive(true);
    let lifetime = match answer.as_ref().and_then(|answer| answer.get("expires_in")) {
        Some(Value::String(seconds)) => seconds.parse().ok(),
        Some(seconds) => seconds.as_f64(),
        None => None,
    };
    let lifetime = lifetime.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { authorization, lifetime })
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenEndpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCredentials {
    /// Without the secret, and without parameters, which may be secret too.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}
