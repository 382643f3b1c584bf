//! How the `otlp` sink says who it is: a name and a password, a token, or tokens that an authorization server issues.
//!
//! Keys and checks only: reading secrets and asking for tokens is the sink's work.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_header_text, warn_of_plain_text};
use crate::address::Endpoint;
use crate::component::{Checker, Facts, Reference};
use crate::omit::is_default;
use crate::secret::{SecretRef, SensitiveText};
use crate::span::Span;
use crate::tls::ClientTls;

/// How requests say who sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// A name and a password in every request (RFC 7617).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A token in every request (RFC 6750).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<BearerAuth>,
    /// Tokens that an authorization server issues to this client for its own id and secret (the client credentials grant
    /// of RFC 6749, section 4.4). A token is fetched with the first request, shared by all requests, and replaced after four
    /// fifths of its time. A token that the backend refuses is replaced once, and the data is sent again. While no token can
    /// be had, data waits in the buffer as it does for a backend that is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The name: a text, or a secret. It has no colon.
    pub username: TextOrSecret,
    /// Where the password comes from. A file is followed as those of `headers` are.
    pub password: SecretRef,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BearerAuth {
    /// Where the token comes from, without `Bearer` before it. A file is followed as those of `headers` are.
    pub token: SecretRef,
}

/// Tokens from an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// Where tokens are issued: `https://host[:port]/path`. It is asked through `proxy`, if there is one.
    #[schemars(extend("format" = "token-url"))]
    pub token_url: String,
    /// The id under which the authorization server knows this client: a text, or a secret.
    pub client_id: TextOrSecret,
    /// Where the client's secret comes from. A file is followed: it is looked at again when a token is fetched.
    pub client_secret: SecretRef,
    /// What the tokens are to allow, in the words of the authorization server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// More parameters of the token request, such as `audience` or `resource`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, SensitiveText>,
    /// How the client shows its id and secret to the authorization server.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client_authentication: ClientAuthentication,
    /// TLS of the authorization server. It does not take over what is in `tls`, which is the backend's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// Longest time of one token request.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m"))]
    pub timeout: Span,
}

/// How a client shows its id and secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// In the `authorization` header, which every authorization server must take.
    #[default]
    Basic,
    /// In the body, as `client_id` and `client_secret`.
    Body,
}

/// A text that stands in the configuration or somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrSecret {
    /// The text itself.
    Text(String),
    /// Where it comes from.
    Secret(SecretText),
}

/// A text that stands somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretText {
    /// Where the text comes from.
    pub secret: SecretRef,
}

impl Auth {
    pub(super) fn check(&self, endpoint: &Endpoint, checker: &mut Checker) {
        let written =
            [("basic", self.basic.is_some()), ("bearer", self.bearer.is_some()), ("oauth2", self.oauth2.is_some())];
        let written: Vec<&str> =
            written.into_iter().filter(|(_, is_written)| *is_written).map(|(name, _)| name).collect();
        match written.as_slice() {
            [] => {
                checker
                    .error(["auth"], "`auth` says nothing")
                    .help("write `auth.basic`, `auth.bearer` or `auth.oauth2`");
            }
            [_only] => {}
            [first, second, ..] => {
                let message = format!("`auth.{first}` and `auth.{second}` exclude each other");
                checker.error(["auth", second], message).help("keep one of them");
            }
        }
        if !written.is_empty() {
            warn_of_plain_text(["auth"], "credentials", endpoint, checker);
        }
        if let Some(BasicAuth { username: TextOrSecret::Text(name), .. }) = &self.basic
            && (name.is_empty() || name.contains(':') || !is_header_text(name))
        {
            checker
                .invalid(["auth", "basic", "username"], "this cannot be the name of a user")
                .expected("visible ASCII characters and spaces, without a colon");
        }
        if let Some(oauth2) = &self.oauth2 {
            oauth2.check(checker);
        }
    }

    pub(super) fn references(&self, mut facts: Facts) -> Facts {
        let mut reads = |path: &[&str], target: &SecretRef| {
            let path = ["auth"].iter().chain(path).map(|segment| (*segment).to_owned()).collect();
            facts.references.push(Reference { path, target: target.clone() });
        };
        if let Some(basic) = &self.basic {
            if let TextOrSecret::Secret(username) = &basic.username {
                reads(&["basic", "username", "secret"], &username.secret);
            }
            reads(&["basic", "password"], &basic.password);
        }
        if let Some(bearer) = &self.bearer {
            reads(&["bearer", "token"], &bearer.token);
        }
        if let Some(oauth2) = &self.oauth2 {
            if let TextOrSecret::Secret(id) = &oauth2.client_id {
                reads(&["oauth2", "client_id", "secret"], &id.secret);
            }
            reads(&["oauth2", "client_secret"], &oauth2.client_secret);
            for (key, file) in oauth2.tls.iter().flat_map(ClientTls::files) {
                reads(&["oauth2", "tls", key], &SecretRef::File(file.clone()));
            }
        }
        facts
    }
}

impl OAuth2 {
    fn check(&self, checker: &mut Checker) {
        for scope in &self.scopes {
            // A scope-token of RFC 6749, section 3.3.
            let is_token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if scope.is_empty() || !scope.bytes().all(is_token) {
                let message = format!("`{}` is not a scope", scope.escape_debug());
                checker.invalid(["auth", "oauth2", "scopes"], message).expected(
                    "visible ASCII characters without quotes and backslashes; each scope is an item of its own",
                );
            }
        }
        for name in self.parameters.keys() {
            if RESERVED_PARAMETERS.contains(&name.as_str()) {
                let message = format!("the parameter `{name}` is set by the sink itself");
                checker.error(["auth", "oauth2", "parameters", name], message).help("remove it");
            }
        }
        let Ok(token_url) = self.token_url.parse::<Endpoint>() else { return };
        warn_of_plain_text(["auth", "oauth2", "token_url"], "the client's secret and tokens", &token_url, checker);
        let Some(tls) = &self.tls else { return };
        if token_url.scheme() == crate::address::Scheme::Http {
            checker
                .no_effect(["auth", "oauth2", "tls"], "`auth.oauth2.tls` has no effect with an `http://` address")
                .help("write `https://`, or remove it");
        }
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => {
                let message = "`auth.oauth2.tls.certificate` without `auth.oauth2.tls.key`";
                checker.error(["auth", "oauth2", "tls", "certificate"], message).help("add the key");
            }
            (None, Some(_)) => {
                let message = "`auth.oauth2.tls.key` without `auth.oauth2.tls.certificate`";
                checker.error(["auth", "oauth2", "tls", "key"], message).help("add the certificate");
            }
            _ => {}
        }
    }
}

/// Parameters of a token request that belong to the protocol.
const RESERVED_PARAMETERS: [&str; 4] = ["client_id", "client_secret", "grant_type", "scope"];

const fn default_timeout() -> Span {
    Span::secs(10)
}
