//! Forms of texts: the `format` keyword of the schemas.
//!
//! Each form is checked by the type that serde reads it into, so both always agree.

use std::fmt::Display;

use serde_json::Value as Json;

use crate::address::{Endpoint, ListenAddress};
use crate::auth::is_user_name;
use crate::cors::is_origin;
use crate::id::{ComponentId, InputRef};
use crate::kubernetes_name::{fault_of_annotation_key, is_node_name};
use crate::secret::SecretRef;
use crate::sinks::otlp::is_header_text;
use crate::size::ByteSize;
use crate::sources::log_format::{Pattern, TimeFormat, TimeFormatError, Zone};
use crate::span::Span;

/// Why a text does not have the form.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) help: Option<String>,
}

/// The name of a schema's form.
pub(super) fn of(schema: &Json) -> Option<&str> {
    schema.get("format").and_then(Json::as_str)
}

/// Checks the form of a text, and its limits where the form has an order.
pub(super) fn check(name: &str, text: &str, schema: &Json) -> Result<(), Refusal> {
    match name {
        "time-span" => {
            let span: Span = text.parse().map_err(plain)?;
            limits(span, schema)
        }
        "byte-size" => {
            let size: ByteSize = text.parse().map_err(plain)?;
            limits(size, schema)
        }
        "listen-address" => text.parse::<ListenAddress>().map(drop).map_err(with_remedy),
        "endpoint" => text.parse::<Endpoint>().map(drop).map_err(with_remedy),
        "token-url" => text.parse::<Endpoint>().map(drop).map_err(with_remedy),
        "secret" => text.parse::<SecretRef>().map(drop).map_err(plain),
        "identity" => ComponentId::new(text).map(drop).map_err(plain),
        "input" => InputRef::new(text).map(drop).map_err(plain),
        "absolute-path" => must(text.starts_with('/') && is_path(text), || format!("`{text}` is not an absolute path")),
        "file-path" => must(is_file_path(text), || format!("`{text}` does not name a file")),
        "url-path" => must(is_url_path(text), || format!("`{text}` is not a path")),
        "header-name" => must(is_header_name(text), || "this is not the name of a header".to_owned()),
        "header-text" => must(is_header_text(text), || "a header cannot carry these characters".to_owned()),
        "user-name" => must(is_user_name(text), || format!("`{}` is not the name of a user", text.escape_debug())),
        "origin" => must(is_origin(text), || format!("`{}` is not an origin", text.escape_debug())),
        "attribute-key" => must(!text.is_empty(), || "an attribute needs a name".to_owned()),
        "node-name" => must(is_node_name(text), || format!("`{}` is not the name of a node", text.escape_debug())),
        "annotation-key" => match fault_of_annotation_key(text) {
            Some(fault) if text.is_empty() => Err(plain(format!("a key {fault}"))),
            Some(fault) => Err(plain(format!("`{}` {fault}", text.escape_debug()))),
            None => Ok(()),
        },
        "rust-regex" => text.parse::<Pattern>().map(drop).map_err(plain),
        "log-time" => text.parse::<TimeFormat>().map(drop).map_err(with_name),
        "time-zone" => text.parse::<Zone>().map(drop).map_err(plain),
        // Number formats such as "int64" say nothing about texts.
        _ => Ok(()),
    }
}

/// What a form looks like, in words.
pub(super) fn expected(name: &str) -> Option<&'static str> {
    Some(match name {
        "time-span" => "a duration such as \"5s\" or \"100ms\"",
        "byte-size" => "a size such as \"64MiB\"",
        "listen-address" => "an IP address and a port such as \"127.0.0.1:4317\" or \"[::]:4317\"",
        "endpoint" => "an address such as \"http://host:4317\" or \"https://host:4317\"",
        "token-url" => "an address such as \"https://login.example.com/oauth2/token\"",
        "secret" => "\"file:/path\", \"directory:NAME\" or \"env:NAME\"",
        "user-name" => "a name without a colon",
        "origin" => "an origin such as \"https://shop.example.com\" or \"https://*.example.com\", or \"*\"",
        "identity" => "small letters, digits, and `_`, `.` and `-` behind the first one",
        "input" => "the id of a component, or \"ID.output\"",
        "absolute-path" => "an absolute path such as \"/etc/telemetry/ca.pem\"",
        "file-path" => "the path of a file",
        "url-path" => "a path such as \"/v1/logs\"",
        "header-name" => "letters, digits and any of !#$%&'*+-.^_`|~",
        "header-text" => "visible ASCII characters and spaces",
        "attribute-key" => "a name such as \"service.name\"",
        "node-name" => "small letters, digits, and `-` and `.` between them, such as \"node-1\"",
        "annotation-key" => "the key of an annotation such as \"telemetry.example.com/exclude-logs\"",
        "rust-regex" => "a regular expression of the Rust crate `regex`",
        "log-time" => {
            "\"rfc3339\", \"epoch_s\", \"epoch_ms\", \"epoch_us\", \"epoch_ns\" or conversions such as \"%Y-%m-%d %H:%M:%S\""
        }
        "time-zone" => "\"UTC\", an offset such as \"+02:00\" or a name such as \"Europe/Berlin\"",
        _ => return None,
    })
}

/// A text of the form.
pub(super) fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "time-span" => "1s",
        "byte-size" => "1MiB",
        "listen-address" => "127.0.0.1:0",
        "endpoint" => "https://unknown.invalid",
        "token-url" => "https://unknown.invalid/token",
        "secret" => "env:UNKNOWN",
        "origin" => "https://unknown.invalid",
        "absolute-path" | "file-path" | "url-path" => "/unknown",
        "header-text" => "unknown",
        "identity" | "node-name" | "annotation-key" => "unknown",
        "rust-regex" => "^unknown",
        "log-time" => "rfc3339",
        "time-zone" => "UTC",
        _ => return None,
    })
}

fn limits<T: Ord + Display + std::str::FromStr>(value: T, schema: &Json) -> Result<(), Refusal> {
    let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_str).and_then(|text| text.parse::<T>().ok());
    let below = limit("x-minimum").is_some_and(|least| value < least);
    let above = limit("x-maximum").is_some_and(|most| value > most);
    must(!below && !above, || format!("{value} is too {}", if below { "small" } else { "large" }))
}

fn must(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal { reason: reason(), help: None }) }
}

fn plain(error: impl Display) -> Refusal {
    Refusal { reason: error.to_string(), help: None }
}

fn with_remedy(error: crate::address::AddressError) -> Refusal {
    Refusal { reason: error.to_string(), help: error.remedy().map(str::to_owned) }
}

fn with_name(error: TimeFormatError) -> Refusal {
    let reason = error.to_string();
    let TimeFormatError::Unknown { help, .. } = error else { return Refusal { reason, help: None } };
    Refusal { reason, help }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn is_file_path(text: &str) -> bool {
    is_path(text) && !text.ends_with('/') && !matches!(text.rsplit('/').next(), Some("." | ".."))
}

fn is_url_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}
