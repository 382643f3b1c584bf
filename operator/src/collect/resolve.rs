//! Values of a pipeline that may stand in Secrets: which Secrets these are, and what is in them.

use std::collections::BTreeMap;

use engine_config::SensitiveText;

use super::model::{SecretKey, SecretName, Text};
use super::module::Module;
use crate::crd::{OtlpOutput, SecretKeyRef, ValueOrRef, ValueType};
use crate::input::SecretView;
use crate::settings::Settings;
use crate::validate::{Problem, Reason, name};

/// Reads values and notes what stands in the way.
pub(super) struct Resolver<'i> {
    settings: &'i Settings,
    secrets: &'i BTreeMap<SecretName, SecretView>,
    module: &'i Module,
    pub(super) problems: Vec<Problem>,
}

impl<'i> Resolver<'i> {
    pub(super) fn new(
        settings: &'i Settings,
        secrets: &'i BTreeMap<SecretName, SecretView>,
        module: &'i Module,
    ) -> Self {
        Self { settings, secrets, module, problems: Vec::new() }
    }

    /// The text at a field; `None` if it cannot be had, which is a problem then.
    pub(super) fn text(&mut self, field: &str, value: &ValueType) -> Option<Text> {
        match value.value_or_ref() {
            Some(ValueOrRef::Value(text)) => Some(Text { origin: None, content: SensitiveText::new(text.expose()) }),
            Some(ValueOrRef::Ref(reference)) => self.secret(field, reference),
            None => {
                let message = format!("'{field}' must have 'value' or 'valueFrom' set");
                self.problem(Reason::ConfigurationInvalid, message);
                None
            }
        }
    }

    /// The text as a part of the configuration itself.
    pub(super) fn plain(&mut self, field: &str, value: &ValueType) -> Option<String> {
        self.text(field, value).map(|text| text.content.expose().to_owned())
    }

    pub(super) fn problem(&mut self, reason: Reason, message: impl Into<String>) {
        self.problems.push(Problem::new(reason, message));
    }

    fn secret(&mut self, field: &str, reference: &SecretKeyRef) -> Option<Text> {
        let secret = name_of(reference);
        let namespace = &secret.namespace;
        if !can_be(&secret) {
            let message = format!("'{field}' names no Secret: no object can be named {secret}");
            self.problem(Reason::ReferencedSecretInvalid, message);
            return None;
        }
        if self.settings.is_own_secret(&secret) {
            let message = format!("{secret} belongs to the manager and may not be used");
            self.problem(Reason::ReferencedSecretForbidden, message);
            return None;
        }
        if !self.module.allows_secrets_of(namespace) {
            let message = format!(
                "{secret} may not be used: add '{namespace}' to spec.secrets.namespaces of the Telemetry object, or \
                 move the Secret"
            );
            self.problem(Reason::ReferencedSecretForbidden, message);
            return None;
        }
        let data = match self.secrets.get(&secret) {
            Some(SecretView::Present(data)) => data,
            Some(SecretView::Forbidden) => {
                let message = format!(
                    "{secret} may not be used: bind the ClusterRole telemetry-secret-reader to the manager's \
                     ServiceAccount in '{namespace}'. Secrets for registries and of ServiceAccounts are never used"
                );
                self.problem(Reason::ReferencedSecretForbidden, message);
                return None;
            }
            Some(SecretView::Missing) | None => {
                let message = format!("One or more referenced Secrets are missing: {secret}");
                self.problem(Reason::ReferencedSecretMissing, message);
                return None;
            }
        };
        let key = &reference.key;
        let Some(content) = data.get(key) else {
            let message = format!("One or more keys in a referenced Secret are missing: Key '{key}' in {secret}");
            self.problem(Reason::ReferencedSecretMissing, message);
            return None;
        };
        let Ok(content) = std::str::from_utf8(content) else {
            let message = format!("Key '{key}' in {secret}, which '{field}' names, is not text");
            self.problem(Reason::ReferencedSecretInvalid, message);
            return None;
        };
        // What a file has at its end is no part of a password.
        let content = content.strip_suffix('\n').map_or(content, |line| line.strip_suffix('\r').unwrap_or(line));
        if content.is_empty() {
            let message = format!("Key '{key}' in {secret}, which '{field}' names, is empty");
            self.problem(Reason::ReferencedSecretInvalid, message);
            return None;
        }
        Some(Text { origin: Some(SecretKey { secret, key: key.clone() }), content: SensitiveText::new(content) })
    }
}

/// The Secrets that an output names, of those fields that have an effect.
pub(super) fn references(output: &OtlpOutput) -> impl Iterator<Item = SecretName> {
    let mut values = vec![&output.endpoint];
    if let Some(authentication) = &output.authentication {
        if let Some(basic) = &authentication.basic {
            values.extend([&basic.user, &basic.password]);
        }
        if let Some(oauth2) = &authentication.oauth2 {
            values.extend([&oauth2.token_url, &oauth2.client_id, &oauth2.client_secret]);
        }
    }
    values.extend(output.headers.iter().map(|header| &header.value));
    if let Some(tls) = output.tls.as_ref().filter(|tls| !tls.insecure) {
        values.extend([&tls.ca, &tls.cert, &tls.key].into_iter().flatten());
    }
    let names: Vec<SecretName> = values.into_iter().filter_map(ValueType::secret_key_ref).map(name_of).collect();
    names.into_iter().filter(can_be)
}

/// Whether there can be such a Secret.
fn can_be(secret: &SecretName) -> bool {
    name::is_label(&secret.namespace) && name::is_object_name(&secret.name)
}

fn name_of(reference: &SecretKeyRef) -> SecretName {
    SecretName { namespace: reference.namespace.clone(), name: reference.name.clone() }
}
