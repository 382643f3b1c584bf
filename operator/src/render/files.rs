//! The files beside `engine.toml`: values of Secrets and texts in PEM, each once however many pipelines name it.
//!
//! A value of a Secret is named after the Secret, so that a new value is another content of the same file, which engines
//! take up by themselves. A text that stands in a pipeline is named after its content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_config::SecretRef;
use sha2::{Digest, Sha256};

use crate::collect::{SecretKey, Text};

/// Where the configuration of an engine is mounted.
pub const DIRECTORY: &str = "/etc/telemetry";

/// The longest name that an entry of a Secret may have.
const LONGEST_NAME: usize = 253;

/// What an engine finds beside its configuration, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Adds a value and says how a configuration names it.
    pub fn secret(&mut self, text: &Text) -> SecretRef {
        SecretRef::Directory(self.add(text, text.content.expose().as_bytes().to_vec()))
    }

    /// Adds a text in PEM and says where the engine finds it.
    pub fn pem(&mut self, text: &Text) -> PathBuf {
        let content = repaired(text.content.expose());
        Path::new(DIRECTORY).join(self.add(text, content.into_bytes()))
    }

    /// Adds something that the manager made, and says how a configuration names it.
    pub fn own(&mut self, name: &str, content: &str) -> SecretRef {
        self.0.insert(name.to_owned(), content.as_bytes().to_vec());
        SecretRef::Directory(name.to_owned())
    }

    /// All of them.
    pub fn into_entries(self) -> BTreeMap<String, Vec<u8>> {
        self.0
    }

    fn add(&mut self, text: &Text, content: Vec<u8>) -> String {
        let name = match &text.origin {
            Some(origin) => name_of(origin),
            None => format!("inline_{}", digest(&content)),
        };
        self.0.insert(name.clone(), content);
        name
    }
}

/// PEM whose line ends were written as `\n` where a text has one line only, as in environment variables.
pub fn repaired(pem: &str) -> String {
    pem.replace("\\n", "\n")
}

/// Names of namespaces and Secrets hold no underscore, so no two entries get one name.
fn name_of(origin: &SecretKey) -> String {
    let name = format!("{}_{}_{}", origin.secret.namespace, origin.secret.name, origin.key);
    if name.len() <= LONGEST_NAME { name } else { format!("long_{}", digest(name.as_bytes())) }
}

/// What tells a content from others, short enough for a name.
pub(super) fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use engine_config::SensitiveText;

    use super::*;
    use crate::collect::SecretName;

    fn from_secret(namespace: &str, name: &str, key: &str, content: &str) -> Text {
        let secret = SecretName { namespace: namespace.to_owned(), name: name.to_owned() };
        Text { origin: Some(SecretKey { secret, key: key.to_owned() }), content: SensitiveText::new(content) }
    }

    /// One entry of a Secret is one file for all who name it, and its name stays when the value changes.
    #[test]
    fn an_entry_is_one_file() {
        let mut files = Files::default();
        let first = files.secret(&from_secret("shop", "backend", "token", "one"));
        let second = files.secret(&from_secret("shop", "backend", "token", "two"));
        assert_eq!(first, second);
        assert_eq!(first.to_string(), "directory:shop_backend_token");
        assert_eq!(files.into_entries()["shop_backend_token"], b"two");
    }

    /// Names that are too long for an entry are replaced, each by one of its own.
    #[test]
    fn long_names_are_replaced() {
        let mut files = Files::default();
        let long = "k".repeat(250);
        files.secret(&from_secret("shop", "backend", &long, "one"));
        files.secret(&from_secret("pay", "backend", &long, "two"));
        let entries = files.into_entries();
        assert_eq!(entries.len(), 2);
        assert!(entries.keys().all(|name| name.len() <= LONGEST_NAME && name.starts_with("long_")), "{entries:?}");
    }

    /// PEM in one line becomes PEM, and equal texts stand once.
    #[test]
    fn pem_in_one_line_is_repaired() {
        let mut files = Files::default();
        let text = Text { origin: None, content: SensitiveText::new("-----BEGIN\\nabc\\n-----END") };
        assert_eq!(files.pem(&text), files.pem(&text));
        let entries = files.into_entries();
        assert_eq!(entries.values().collect::<Vec<_>>(), [b"-----BEGIN\nabc\n-----END"]);
    }
}
