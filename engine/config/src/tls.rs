//! TLS keys that sources and sinks share.
//!
//! Names of files only: reading, watching and handshakes are the transport's work.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, Facts};
use crate::omit::is_default;
use crate::secret::SecretRef;

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// File with the certificate chain in PEM, the server's own first.
    #[schemars(extend("format" = "absolute-path"))]
    pub certificate: PathBuf,
    /// File with the private key in PEM.
    #[schemars(extend("format" = "absolute-path"))]
    pub key: PathBuf,
    /// File with the certificates in PEM that client certificates must descend from. Without it clients need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub client_ca: Option<PathBuf>,
    /// Names of clients that are let in, as their certificates carry them: a DNS name or a URI among the subject
    /// alternative names, such as `"agent.example.com"` or `"spiffe://example.com/agent"`, without wildcards. Needs
    /// `client_ca`. Empty: any name.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(inner(length(min = 1)), extend("uniqueItems" = true))]
    pub client_names: Vec<String>,
}

/// TLS of a connection to a backend with `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// File with certificates of authorities in PEM: only backends that descend from one of them are trusted. Without it
    /// those of the operating system and those of Mozilla, built into the program, are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub ca: Option<PathBuf>,
    /// File with this client's certificate chain in PEM. Needs `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub certificate: Option<PathBuf>,
    /// File with this client's private key in PEM. Needs `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub key: Option<PathBuf>,
    /// Name that the backend's certificate must carry. Default: the host of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}

impl ServerTls {
    /// Checks what stands at `names`, the path of `client_names`.
    pub(crate) fn check<const N: usize>(&self, checker: &mut Checker, names: [&str; N]) {
        if !self.client_names.is_empty() && self.client_ca.is_none() {
            let message = "`client_names` has no effect without `client_ca`: clients are asked for no certificate";
            checker.no_effect(names, message).help("set `client_ca`, or remove the names");
        }
        if let Some(name) = self.client_names.iter().find(|name| name.contains('*')) {
            let message = format!("`{name}` holds a wildcard, and names of clients are compared as they are");
            checker.invalid(names, message).expected("whole DNS names or URIs");
        }
    }

    pub(crate) fn references(&self, facts: Facts, listener: &'static str) -> Facts {
        let facts = facts
            .reads([listener, "tls", "certificate"], SecretRef::File(self.certificate.clone()))
            .reads([listener, "tls", "key"], SecretRef::File(self.key.clone()));
        match &self.client_ca {
            Some(file) => facts.reads([listener, "tls", "client_ca"], SecretRef::File(file.clone())),
            None => facts,
        }
    }
}

impl ClientTls {
    pub(crate) fn check(&self, checker: &mut Checker) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                checker.error(["tls", "certificate"], "`tls.certificate` without `tls.key`").help("add `tls.key`");
            }
            (None, Some(_)) => {
                checker.error(["tls", "key"], "`tls.key` without `tls.certificate`").help("add `tls.certificate`");
            }
            _ => {}
        }
    }

    pub(crate) fn references(&self, facts: Facts) -> Facts {
        self.files().fold(facts, |facts, (key, file)| facts.reads(["tls", key], SecretRef::File(file.clone())))
    }

    /// The files, each with the key that names it.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)];
        files.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?)))
    }
}
