//! A configuration with a canary in every place that takes a secret, and the files that it names.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};

use crate::canary::{CANARY, Canary};

/// The variables that the configuration names.
pub(crate) const VARIABLES: [&str; 3] = ["CANARY_TOKEN", "CANARY_NAME", "CANARY_PASSWORD"];

/// Addresses of the peers that the sinks meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) backend: SocketAddr,
    pub(crate) issuer: SocketAddr,
    pub(crate) proxy: SocketAddr,
}

/// The configuration in a folder of its own, with all secrets in place.
pub(crate) struct Configuration {
    folder: tempfile::TempDir,
    pub(crate) canary: Canary,
    pub(crate) text: String,
}

impl Addresses {
    /// Where nobody listens.
    pub(crate) fn nobody() -> Self {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        Self { backend: nobody, issuer: nobody, proxy: nobody }
    }
}

impl Configuration {
    pub(crate) fn new(addresses: Addresses) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut canary = Canary::new();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        for name in ["password", "token", "directory/token", "directory/secret", "directory/password"] {
            fs::write(at(name), format!("{}-{CANARY}\n", name.replace('/', "-"))).unwrap();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        canary.add_key(&key.serialize_pem());
        fs::write(at("server.pem"), certificate.pem()).unwrap();
        fs::write(at("server.key"), key.serialize_pem()).unwrap();
        let text = TEMPLATE
            .replace("CANARY", CANARY)
            .replace(&format!("{CANARY}_"), "CANARY_")
            .replace("FOLDER", folder.path().to_str().unwrap())
            .replace("BACKEND", &addresses.backend.to_string())
            .replace("ISSUER", &addresses.issuer.to_string())
            .replace("PROXY", &addresses.proxy.to_string());
        let configuration = Self { folder, canary, text };
        configuration.write(&configuration.text);
        configuration
    }

    /// The file that commands are given.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("engine.toml")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration.
    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// The environment that it needs.
    pub(crate) fn variables() -> BTreeMap<String, String> {
        VARIABLES.iter().map(|name| ((*name).to_owned(), format!("variable-{CANARY}"))).collect()
    }
}

/// Every place that takes a secret, in a component that meets what it is to meet.
const TEMPLATE: &str = include_str!("canary.toml");
