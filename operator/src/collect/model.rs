//! A pipeline as the rest of the manager sees it: every reference resolved, every default filled in, no API version left.

use std::collections::BTreeMap;
use std::fmt;

use engine_config::sinks::otlp::{Compression, Protocol};
use engine_config::{Endpoint, SensitiveText};

use super::selection::Selection;
use crate::role::Signal;
use crate::storage::DiskBuffer;

/// Which pipeline. Pipelines of two kinds may have one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineId {
    /// Its kind.
    pub signal: Signal,
    /// Its name.
    pub name: String,
}

/// A pipeline that can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Which one.
    pub id: PipelineId,
    /// What tells it from another one that had its name before or will have it later; absent where it is in no cluster.
    pub identity: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// What it collects.
    pub inputs: Inputs,
    /// Where data waits for the backend.
    pub buffer: Buffer,
    /// The size that its buffer on disk had in each pod, as its status says; absent where it had none.
    pub disk_before: Option<u64>,
    /// Where it sends it.
    pub output: Output,
}

/// Where data waits for its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// In memory.
    Memory {
        /// The most bytes; absent is an equal share.
        max_size: Option<u64>,
    },
    /// On disk.
    Disk(DiskBuffer),
}

/// What a pipeline collects.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Inputs {
    /// What applications send: of these namespaces, and what says no namespace.
    pub otlp: Option<Selection>,
    /// What containers print.
    pub runtime: Option<RuntimeLogs>,
}

/// Logs of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLogs {
    /// Of which namespaces.
    pub namespaces: Selection,
    /// Of which containers, by their names in the pod.
    pub containers: Selection,
    /// Whether a line that is a JSON object is kept as it was written.
    pub keep_original_body: bool,
}

/// An OTLP backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it is; the scheme says whether it is encrypted.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The whole path of requests, in place of the endpoint's and that of the signal.
    pub path: Option<String>,
    /// How requests are compressed.
    pub compression: Compression,
    /// How they say who sends them.
    pub authentication: Option<Authentication>,
    /// More headers.
    pub headers: Vec<Header>,
    /// Authorities and certificates.
    pub tls: Tls,
    /// Texts of a configuration that came from Secrets: addresses, which may hold a key.
    pub secret_texts: Vec<SensitiveText>,
}

/// How requests say who sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By name and password.
    Basic {
        /// The name.
        user: Text,
        /// The password.
        password: Text,
    },
    /// By tokens of an authorization server.
    OAuth2 {
        /// Where they are issued.
        token_url: String,
        /// The id of this client.
        client_id: Text,
        /// Its secret.
        client_secret: Text,
        /// What they are to allow.
        scopes: Vec<String>,
        /// More parameters of the request.
        parameters: BTreeMap<String, SensitiveText>,
    },
}

/// A header of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Text before the value.
    pub prefix: Option<String>,
    /// Its value.
    pub value: Text,
}

/// Texts in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities that the backend's certificate descends from.
    pub ca: Option<Text>,
    /// The certificate of this client and its key.
    pub client: Option<(Text, Text)>,
}

/// A text that stands in the pipeline or in a Secret. Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it was read, if not in the pipeline.
    pub origin: Option<SecretKey>,
    /// The text.
    pub content: SensitiveText,
}

/// One entry of one Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey {
    /// The Secret.
    pub secret: SecretName,
    /// The entry.
    pub key: String,
}

/// One Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PipelineId {
    /// The pipeline of this kind and name.
    pub fn new(signal: Signal, name: impl Into<String>) -> Self {
        Self { signal, name: name.into() }
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.signal.kind(), self.name)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret '{}' of Namespace '{}'", self.name, self.namespace)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Text").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Output {
    /// Whether something of it that stands in a configuration itself can be secret: parameters for an authorization server.
    pub fn holds_secrets(&self) -> bool {
        match &self.authentication {
            Some(Authentication::OAuth2 { parameters, .. }) => !parameters.is_empty(),
            Some(Authentication::Basic { .. }) | None => false,
        }
    }
}

impl Inputs {
    /// Everything that applications send, which is what metric and trace pipelines take.
    pub fn pushed() -> Self {
        Self { otlp: Some(Selection::all()), runtime: None }
    }
}
