//! How the `otlp` sink connects: through a proxy, and to which addresses of the backend.
//!
//! Keys and checks only: resolving and connecting is the transport's work.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::TextOrSecret;
use super::{is_header_text, warn_of_plain_text};
use crate::address::{Endpoint, Scheme};
use crate::component::{Checker, Facts};
use crate::secret::SecretRef;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Proxy {
    /// Its address.
    Url(Endpoint),
    /// Its address, and who asks.
    Table(ProxyTable),
}

/// An HTTP proxy that wants to know who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyTable {
    /// Its address: `http://host:port`.
    pub url: Endpoint,
    /// The name that the proxy knows: a text, or a secret. Needs `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<TextOrSecret>,
    /// Where the password comes from. A file is followed. Needs `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

/// To which addresses of the endpoint's name there are connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// How many addresses there are connections to. Requests take turns over them.
    #[schemars(range(min = 1, max = 1024))]
    pub addresses: NonZeroU16,
    /// Name of this engine among those that send to the same backend: it decides which addresses these are, so it must
    /// differ from the others and outlive restarts, such as the name of the node. Default: the name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node: Option<String>,
}

impl Proxy {
    /// Its address.
    pub fn url(&self) -> &Endpoint {
        match self {
            Self::Url(url) => url,
            Self::Table(table) => &table.url,
        }
    }

    pub(super) fn check(&self, checker: &mut Checker) {
        if self.url().scheme() == Scheme::Https {
            let message =
                "a proxy is spoken to in clear: what goes through it is encrypted by the endpoint's `https://`";
            checker.error(["proxy"], message).help("write `http://`");
        }
        if !self.url().path().is_empty() {
            let message = format!("the path `{}` has no meaning with a proxy", self.url().path());
            checker.error(["proxy"], message).help("remove it");
        }
        let Self::Table(table) = self else { return };
        match (&table.username, &table.password) {
            (Some(_), None) => {
                checker
                    .error(["proxy", "username"], "`proxy.username` without `proxy.password`")
                    .help("add the password");
            }
            (None, Some(_)) => {
                checker.error(["proxy", "password"], "`proxy.password` without `proxy.username`").help("add the name");
            }
            (Some(_), Some(_)) => warn_of_plain_text(["proxy"], "credentials for the proxy", &table.url, checker),
            (None, None) => {}
        }
        if let Some(TextOrSecret::Text(name)) = &table.username
            && (name.is_empty() || name.contains(':') || !is_header_text(name))
        {
            checker
                .invalid(["proxy", "username"], "this cannot be the name of a user")
                .expected("visible ASCII characters and spaces, without a colon");
        }
    }

    pub(super) fn references(&self, mut facts: Facts) -> Facts {
        let Self::Table(table) = self else { return facts };
        if let Some(TextOrSecret::Secret(username)) = &table.username {
            facts = facts.reads(["proxy", "username", "secret"], username.secret.clone());
        }
        if let Some(password) = &table.password {
            facts = facts.reads(["proxy", "password"], password.clone());
        }
        facts
    }
}

impl Spread {
    pub(super) fn check(&self, endpoint: &Endpoint, proxy: Option<&Proxy>, checker: &mut Checker) {
        if endpoint.host().parse::<std::net::IpAddr>().is_ok() {
            let message = format!("`spread` has no effect: {} is one address", endpoint.host());
            checker.no_effect(["spread"], message).help("write a name with several addresses, or remove it");
        }
        if proxy.is_some() {
            let message = "`spread` has no effect with `proxy`: the proxy chooses the address";
            checker.no_effect(["spread"], message).help("remove one of them");
        }
    }
}
