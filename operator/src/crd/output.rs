//! Where data goes: an OTLP backend, how to reach it, and who we say we are.
//!
//! Not here: whether endpoint and certificates are usable (`plan`).

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{InlineValue, ValueType};

/// A backend that takes OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "(has(self.path) && size(self.path) > 0) ? self.protocol == 'http' : true",
        "Path is only available with HTTP protocol",
    ),
    validation = (
        "(has(self.authentication) && has(self.authentication.oauth2) && self.protocol == 'grpc' && has(self.tls)) ? !(has(self.tls.insecure) && self.tls.insecure == true) : true",
        "OAuth2 authentication requires TLS when using gRPC protocol",
    ),
    validation = (
        "has(self.endpoint.value) || has(self.endpoint.valueFrom)",
        "'endpoint' must have 'value' or 'valueFrom' set",
    )
)]
pub struct OtlpOutput {
    /// `grpc` or `http` (protobuf in HTTP requests).
    #[serde(default)]
    pub protocol: Protocol,
    /// Where the backend is. For `grpc` a host with a port, such as `otlp.example.com:4317`, with or without `http://` or
    /// `https://`; for `http` a URL. `http://` means without TLS.
    pub endpoint: ValueType,
    /// Path of requests with the protocol `http`, in place of `/v1/logs`, `/v1/metrics` and `/v1/traces`. It is added to
    /// the path of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who we say we are. At most one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Headers that every request carries; with `grpc` they are metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub headers: Vec<Header>,
    /// Encryption, and who is trusted. Unset means TLS with the authorities of the system, unless the endpoint begins with
    /// `http://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<OutputTls>,
    /// How requests are compressed. Unset means `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// gRPC over HTTP/2.
    #[default]
    Grpc,
    /// Protobuf in HTTP requests.
    Http,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// What every backend understands.
    Gzip,
    /// The fastest, which compresses least.
    Snappy,
    /// Smaller than gzip for less CPU.
    Zstd,
}

/// Who we say we are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("!(has(self.basic) && has(self.oauth2))", "Only one authentication method can be specified"))]
pub struct Authentication {
    /// A user with a password, in the header `authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// Tokens of an OAuth2 server, by the grant of client credentials. They are renewed before they expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// A user with a password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = ("has(self.user.value) || has(self.user.valueFrom)", "'user' must have 'value' or 'valueFrom' set"),
    validation = (
        "has(self.password.value) || has(self.password.valueFrom)",
        "'password' must have 'value' or 'valueFrom' set",
    )
)]
pub struct BasicAuth {
    /// Name of the user.
    pub user: ValueType,
    /// Password of the user.
    pub password: ValueType,
}

/// Who we are to an OAuth2 server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = (
        "has(self.tokenURL.value) || has(self.tokenURL.valueFrom)",
        "'tokenURL' must have 'value' or 'valueFrom' set",
    ),
    validation = (
        "has(self.clientID.value) || has(self.clientID.valueFrom)",
        "'clientID' must have 'value' or 'valueFrom' set",
    ),
    validation = (
        "has(self.clientSecret.value) || has(self.clientSecret.valueFrom)",
        "'clientSecret' must have 'value' or 'valueFrom' set",
    )
)]
pub struct OAuth2 {
    /// URL that hands out tokens.
    #[serde(rename = "tokenURL")]
    #[x_kube(validation = ("has(self.value) ? isURL(self.value) : true", "'tokenURL' must be a valid URL"))]
    pub token_url: ValueType,
    /// Name of the client.
    #[serde(rename = "clientID")]
    pub client_id: ValueType,
    /// Secret of the client.
    #[serde(rename = "clientSecret")]
    pub client_secret: ValueType,
    /// Scopes to ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Further parameters of requests for tokens, such as `audience`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, InlineValue>,
}

/// A header of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = ("!(has(self.value) && has(self.valueFrom))", "Only one of 'value' or 'valueFrom' can be set"),
    validation = ("has(self.value) || has(self.valueFrom)", "Header must have 'value' or 'valueFrom' set")
)]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What stands before the value, separated by a space, such as `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The value.
    #[serde(flatten)]
    pub value: ValueType,
}

/// Encryption, and who is trusted. Certificates and keys are PEM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.cert) == has(self.key)", "Can define either both 'cert' and 'key', or neither"))]
pub struct OutputTls {
    /// `true` sends in the clear. Then nothing else here is used. Unset means `false`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub insecure: bool,
    /// `true` accepts any certificate of the backend, and so anybody in its place. Unset means `false`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub insecure_skip_verify: bool,
    /// Authorities that may have signed the backend's certificate, in place of those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<ValueType>,
    /// Certificate that we show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<ValueType>,
    /// Key of the certificate that we show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<ValueType>,
}

/// Whether a switch that is off unless it is set stands as nobody has touched it.
pub(super) fn is_unset(switch: &bool) -> bool {
    !switch
}
