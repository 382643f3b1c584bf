//! The address of a backend as pipelines write it, in the form that the engine takes.

use std::str::FromStr;

use engine_config::Endpoint;
use engine_config::sinks::otlp::Protocol;

/// Whether a pipeline wants encryption where the address does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Unless the address begins with `http://`.
    On,
    /// `tls.insecure` is set.
    Off,
}

/// Reads an address. `Err` says what is wrong with it and what would be right.
pub fn read(text: &str, protocol: Protocol, encryption: Encryption) -> Result<Endpoint, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the address is empty; expected <host>:<port>".to_owned());
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let scheme = match (scheme, protocol, encryption) {
        (Some("http"), ..) => "http",
        // With HTTP the address alone decides.
        (Some("https"), Protocol::Http, _) | (Some("https") | None, Protocol::Grpc, Encryption::On) => "https",
        (Some("https") | None, Protocol::Grpc, Encryption::Off) => "http",
        (None, Protocol::Http, _) => {
            return Err(format!("missing or unsupported protocol scheme; write http://{rest} or https://{rest}"));
        }
        (Some(other), ..) => {
            return Err(format!("missing or unsupported protocol scheme: '{other}'; expected http or https"));
        }
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    if protocol == Protocol::Grpc {
        if !path.is_empty() {
            return Err(format!("gRPC endpoints cannot contain paths; remove '{path}', or set protocol: http"));
        }
        if port(authority).is_none() {
            return Err(format!("missing port; write {authority}:4317 if that is where the backend listens"));
        }
    }
    if let Some(port) = port(authority)
        && !matches!(u16::from_str(port), Ok(1..))
    {
        return Err(format!("port '{port}' is out of range; expected a number from 1 to 65535"));
    }
    format!("{scheme}://{rest}").parse().map_err(|error: engine_config::AddressError| match error.remedy() {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    })
}

/// What stands behind the host; an IPv6 address stands in brackets.
fn port(authority: &str) -> Option<&str> {
    let behind = match authority.rsplit_once(']') {
        Some((_, behind)) => behind,
        None => authority,
    };
    behind.rsplit_once(':').map(|(_, port)| port)
}

/// The path of an endpoint with another one behind it.
pub fn joined(endpoint: &Endpoint, path: &str) -> String {
    format!("{}/{}", endpoint.path().trim_end_matches('/'), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, protocol: Protocol, encryption: Encryption) -> Result<String, String> {
        read(text, protocol, encryption).map(|endpoint| endpoint.to_string())
    }

    /// Addresses as Kyma takes them become those of the engine; encryption is on unless something switches it off.
    #[test]
    fn addresses_are_taken_as_written() {
        use Encryption::{Off, On};
        use Protocol::{Grpc, Http};
        for (text, protocol, encryption, expected) in [
            ("backend.shop:4317", Grpc, On, "https://backend.shop:4317"),
            ("backend.shop:4317", Grpc, Off, "http://backend.shop:4317"),
            ("http://backend.shop:4317", Grpc, On, "http://backend.shop:4317"),
            ("https://backend.shop:4317", Grpc, On, "https://backend.shop:4317"),
            ("[::1]:4317", Grpc, On, "https://[::1]:4317"),
            ("https://backend.shop/otlp", Http, On, "https://backend.shop/otlp"),
            ("http://backend.shop:4318", Http, Off, "http://backend.shop:4318"),
        ] {
            assert_eq!(said(text, protocol, encryption).as_deref(), Ok(expected), "{text}");
        }
    }

    /// What is wrong is named, with what to write instead.
    #[test]
    fn mistakes_are_named() {
        use Protocol::{Grpc, Http};
        for (text, protocol, words) in [
            ("", Grpc, "the address is empty"),
            ("backend.shop", Grpc, "missing port"),
            ("https://backend.shop", Grpc, "missing port"),
            ("backend.shop:4317/", Grpc, "gRPC endpoints cannot contain paths"),
            ("backend.shop:70000", Grpc, "port '70000' is out of range"),
            ("backend.shop:0", Grpc, "port '0' is out of range"),
            ("backend.shop:otlp", Grpc, "port 'otlp' is out of range"),
            ("ftp://backend.shop:4317", Grpc, "unsupported protocol scheme: 'ftp'"),
            ("backend.shop:4318", Http, "missing or unsupported protocol scheme"),
            ("https://backend.shop:99999/otlp", Http, "port '99999' is out of range"),
        ] {
            let error = said(text, protocol, Encryption::On).err().unwrap_or_default();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    /// A path is put behind that of the endpoint, with one slash between.
    #[test]
    fn paths_are_joined() {
        let endpoint = |text: &str| -> Endpoint { text.parse().expect("an address") };
        assert_eq!(joined(&endpoint("https://a.b/x/"), "/v2/logs"), "/x/v2/logs");
        assert_eq!(joined(&endpoint("https://a.b"), "v2"), "/v2");
    }
}
