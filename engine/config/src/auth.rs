//! Keys that say who may send to a listener.
//!
//! References to secrets only: reading them, following them and comparing is the transport's work.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;
use crate::component::{Checker, Facts};
use crate::omit::is_default;
use crate::secret::SecretRef;

/// Who may send to a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerAuth {
    /// Users with a password (HTTP Basic).
    #[serde(skip_serializing_if = "is_default")]
    pub basic: BasicAuth,
    /// Whoever has a token (`Authorization: Bearer TOKEN`).
    #[serde(skip_serializing_if = "is_default")]
    pub bearer: BearerAuth,
}

/// Users with a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// Names of users, each with its password as a secret: `users = { agents = "file:/etc/secrets/agents" }`. A secret of
    /// several lines is several passwords, all of them good, so that one can be replaced without a gap.
    #[schemars(extend("propertyNames" = { "format": "user-name" }))]
    pub users: BTreeMap<String, SecretRef>,
}

/// Whoever has a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BearerAuth {
    /// Secrets that hold tokens: `tokens = ["directory:tokens"]`. A secret of several lines is several tokens, all of them
    /// good: add the new one, let the clients change, and remove the old one.
    #[schemars(extend("uniqueItems" = true))]
    pub tokens: Vec<SecretRef>,
}

impl ServerAuth {
    /// What cannot be meant, and credentials that everybody on the way can read.
    pub(crate) fn check(&self, checker: &mut Checker, listener: &'static str, address: ListenAddress, in_clear: bool) {
        if self.basic.users.is_empty() && self.bearer.tokens.is_empty() {
            let message = format!("`{listener}.auth` names nobody who may send");
            checker.error([listener, "auth"], message).help("name `basic.users` or `bearer.tokens`, or remove `auth`");
        }
        if in_clear && !address.get().ip().to_canonical().is_loopback() {
            let message =
                format!("credentials come to {address} in clear: whoever sees the traffic can send with them");
            let help = format!("set `{listener}.tls`, or listen on a loopback address");
            checker.warning([listener, "auth"], message).help(help);
        }
    }

    pub(crate) fn references(&self, facts: Facts, listener: &'static str) -> Facts {
        let facts = self.basic.users.iter().fold(facts, |facts, (name, password)| {
            facts.reads([listener, "auth", "basic", "users", name], password.clone())
        });
        self.bearer.tokens.iter().enumerate().fold(facts, |facts, (index, token)| {
            facts.reads([listener, "auth", "bearer", "tokens", &index.to_string()], token.clone())
        })
    }
}

/// What HTTP Basic can carry as a name: no colon, where the password begins, and nothing that does not print.
pub(crate) fn is_user_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|character| character == ':' || character.is_control())
}
