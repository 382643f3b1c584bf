//! Keys that say which pages' scripts may send to a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::omit::is_default;
use crate::span::Span;

/// Which pages may send from a browser (CORS). It is browsers that keep to it: whoever is none sends without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins of pages: `"https://shop.example.com"`, with the port if it is not the scheme's own. One `*` in it stands
    /// for letters, digits, dots and hyphens: `"https://*.example.com"`, `"http://localhost:*"`. `"*"` is every page, and
    /// then browsers send no cookies and no remembered passwords along.
    #[schemars(length(min = 1), extend("items" = { "type": "string", "format": "origin" }, "uniqueItems" = true))]
    pub allowed_origins: Vec<String>,
    /// Headers that scripts may set besides `Content-Type` and `Content-Encoding`, such as `"Authorization"`. `"*"` is
    /// every header.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("items" = { "type": "string", "format": "header-name" }, "uniqueItems" = true))]
    pub allowed_headers: Vec<String>,
    /// How long a browser may go on without asking again.
    #[serde(default = "default_max_age")]
    #[schemars(extend("x-maximum" = "24h"))]
    pub max_age: Span,
}

const fn default_max_age() -> Span {
    Span::secs(600)
}

/// `*`, or `scheme://host[:port]` with at most one `*` behind the scheme. At the end it stands for a port only: behind
/// `https://shop.` it would be everybody's to end.
pub(crate) fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
    let is_open = host.strip_suffix('*').is_some_and(|start| !start.ends_with(':'));
    is_scheme && !host.is_empty() && !is_open && host.bytes().all(is_of_host) && host.matches('*').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A star is part of a host or all of a port, and never open at the end.
    #[test]
    fn origins() {
        for good in ["*", "https://shop.example.com:8443", "https://*.example.com", "http://localhost:*", "app://x-*.y"]
        {
            assert!(is_origin(good), "{good}");
        }
        for bad in
            ["https://*", "https://shop.*", "https://shop*", "https://*.*", "shop.example.com", "https://", "HTTP://a"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
