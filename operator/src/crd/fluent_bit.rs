//! What `LogPipeline` has of Fluent Bit: accepted, so that manifests written for Kyma apply, and never run.
//!
//! Nothing here has an effect: `plan` leaves such a pipeline out and says in its status what to write instead. Free text
//! can hold credentials, so all of it is an [`InlineValue`].

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::output::{OutputTls, is_unset};
use super::value::{InlineValue, ValueFrom, ValueType};

/// A backend that takes JSON over HTTP, by the names of Fluent Bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.host.value) || has(self.host.valueFrom)", "'host' must have 'value' or 'valueFrom' set"))]
pub struct HttpOutput {
    /// Host of the backend.
    pub host: ValueType,
    /// User of the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<ValueType>,
    /// Password of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<ValueType>,
    /// Path of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.*$"))]
    pub uri: Option<String>,
    /// Port of the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Compression: `none` or `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<String>,
    /// Format of bodies: `gelf`, `json`, `json_stream`, `json_lines` or `msgpack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Encryption, and who is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<OutputTls>,
    /// Whether dots in names of labels and annotations become underscores.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub dedot: bool,
}

/// A filter of Fluent Bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CustomFilter {
    /// The filter in the syntax of Fluent Bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<InlineValue>,
}

/// A file beside the configuration of Fluent Bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct File {
    /// Name of the file.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What is in it.
    #[schemars(length(min = 1))]
    pub content: InlineValue,
}

/// A variable of the configuration of Fluent Bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Name of the variable.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Where its value is.
    pub value_from: ValueFrom,
}
