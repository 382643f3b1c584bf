//! Where to listen and where to send: `ListenAddress` and `Endpoint`.
//!
//! Reads texts only. Resolving names and opening sockets belong to the components.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IP address and a port to listen on, such as `"127.0.0.1:4317"` or `"[::]:4317"` (every IPv4 and IPv6 address).
/// Port 0 lets the system choose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// A backend: `scheme://host[:port][/path]`. Without a port the scheme's own port is used (80 or 443).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    path: String,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http://`: in clear.
    Http,
    /// `https://`: TLS.
    Https,
}

/// Why a text is not an address, with the way out of the mistakes that people make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AddressError {
    reason: String,
    help: Option<String>,
}

impl AddressError {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to write instead, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl ListenAddress {
    /// `127.0.0.1` with this port.
    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port))
    }

    /// As the standard library's address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether two listeners would fight for one socket. `[::]` also takes IPv4.
    pub fn overlaps(self, other: Self) -> bool {
        let (left, right) = (self.0, other.0);
        if left.port() != right.port() || left.port() == 0 {
            return false;
        }
        let covers = |wide: IpAddr, narrow: IpAddr| match wide {
            IpAddr::V6(address) => address.is_unspecified(),
            IpAddr::V4(address) => address.is_unspecified() && narrow.is_ipv4(),
        };
        left.ip() == right.ip() || covers(left.ip(), right.ip()) || covers(right.ip(), left.ip())
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let error = AddressError::new(format!("`{text}` is not an IP address and a port"));
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(_) => error.help("add a port"),
                Err(_) => error,
            });
        };
        if port.parse::<u16>().is_err() {
            return Err(error.help("a port is a number from 0 to 65535"));
        }
        Err(match host {
            "" | "*" => error.help(format!("write \"[::]:{port}\" for every address")),
            "localhost" => error.help(format!("write \"127.0.0.1:{port}\"")),
            _ if host.parse::<std::net::Ipv6Addr>().is_ok() => error.help(format!("write \"[{host}]:{port}\"")),
            _ => error.help("names are not looked up here: write the address"),
        })
    }
}

impl Endpoint {
    /// Whether the connection is encrypted.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or IP address; an IPv6 address stands without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port as written, else the scheme's own.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }

    /// Path without a trailing slash; empty when there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port` as a `Host` header or `:authority` shows it.
    pub fn authority(&self) -> String {
        let mut authority = self.bracketed_host();
        if let Some(port) = self.port {
            authority.push_str(&format!(":{port}"));
        }
        authority
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some((scheme, rest)) => {
                let error = AddressError::new(format!("the scheme `{scheme}` is not known"));
                return Err(error.help(format!("write \"http://{rest}\", or \"https://{rest}\" for TLS")));
            }
            None => {
                let error = AddressError::new(format!("`{text}` has no scheme"));
                return Err(error.help(format!("write \"http://{text}\", or \"https://{text}\" for TLS")));
            }
        };
        let path_start = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        if authority.contains('@') {
            return Err(
                AddressError::new("credentials do not belong into an address").help("use `headers` with a secret")
            );
        }
        if rest.contains(['?', '#']) {
            return Err(AddressError::new(format!("`{text}` has a query or a fragment")).help("end it after the path"));
        }
        if rest.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err(AddressError::new(format!("`{}` holds white space", text.escape_debug())));
        }
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host, port, path: path.trim_end_matches('/').to_owned() })
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_authority(authority: &str) -> Result<(String, Option<u16>), AddressError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let unclosed = || AddressError::new(format!("`{authority}` opens a bracket and does not close it"));
            let (host, after) = rest.split_once(']').ok_or_else(unclosed)?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(AddressError::new(format!("`{host}` is not an IPv6 address")));
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(AddressError::new(format!("`{after}` stands between address and path"))),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(AddressError::new("there is no host"));
    }
    let is_host_character =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':');
    if let Some(wrong) = host.chars().find(|character| !is_host_character(*character)) {
        return Err(AddressError::new(format!("`{wrong}` is not allowed in a host name")));
    }
    let Some(port) = port else { return Ok((host.to_owned(), None)) };
    match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok((host.to_owned(), Some(number))),
        _ if port.contains(':') => Err(AddressError::new(format!("`{authority}` is ambiguous"))
            .help("put an IPv6 address in brackets: [::1]:4317")),
        _ => Err(AddressError::new(format!("`{port}` is not a port")).help("a port is a number from 1 to 65535")),
    }
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ListenAddress {
    fn schema_name() -> Cow<'static, str> {
        "ListenAddress".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "listen-address", "pattern": "^(\\[.+\\]|[0-9.]+):[0-9]+$" })
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "endpoint", "pattern": "^https?://[^?#@\\s]+$" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn listen(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    /// Two listeners collide when one address covers the other on the same port.
    #[test]
    fn which_listeners_collide() {
        let cases = [
            ("127.0.0.1:4317", "127.0.0.1:4317", true),
            ("127.0.0.1:4317", "127.0.0.2:4317", false),
            ("0.0.0.0:4317", "127.0.0.1:4317", true),
            ("0.0.0.0:4317", "[::1]:4317", false),
            ("[::]:4317", "127.0.0.1:4317", true),
            ("[::]:4317", "0.0.0.0:4317", true),
            ("[::]:4317", "[::]:4318", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ];
        for (left, right, expected) in cases {
            assert_eq!(listen(left).overlaps(listen(right)), expected, "{left} {right}");
            assert_eq!(listen(right).overlaps(listen(left)), expected, "{right} {left}");
        }
    }

    /// The mistakes that people make are answered with the text to write.
    #[test]
    fn remedies_of_listen_addresses() {
        let remedy = |text: &str| text.parse::<ListenAddress>().unwrap_err().remedy().map(str::to_owned);
        assert_eq!(remedy(":4317").unwrap(), "write \"[::]:4317\" for every address");
        assert_eq!(remedy("localhost:4317").unwrap(), "write \"127.0.0.1:4317\"");
        assert_eq!(remedy("::1:4317").unwrap(), "write \"[::1]:4317\"");
        assert_eq!(remedy("127.0.0.1").unwrap(), "add a port");
        assert_eq!(remedy("127.0.0.1:99999").unwrap(), "a port is a number from 0 to 65535");
        assert_eq!(remedy("no address"), None);
    }

    /// Endpoints keep what was written and know the port of their scheme.
    #[test]
    fn endpoints() {
        let endpoint: Endpoint = "https://otlp.example.com/otlp/".parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.path()), ("otlp.example.com", 443, "/otlp"));
        assert_eq!(endpoint.to_string(), "https://otlp.example.com/otlp");
        let local: Endpoint = "http://[::1]:4317".parse().unwrap();
        assert_eq!((local.host(), local.port(), local.authority()), ("::1", 4317, "[::1]:4317".to_owned()));
    }

    /// What is not an endpoint is refused with a reason.
    #[test]
    fn what_is_not_an_endpoint() {
        let reason = |text: &str| text.parse::<Endpoint>().unwrap_err().to_string();
        assert_eq!(reason("backend:4317"), "`backend:4317` has no scheme");
        assert_eq!(reason("grpc://backend:4317"), "the scheme `grpc` is not known");
        assert_eq!(reason("http://user:word@backend"), "credentials do not belong into an address");
        assert_eq!(reason("http://backend:0"), "`0` is not a port");
        assert_eq!(reason("http://::1:4317"), "there is no host");
        assert_eq!(reason("http://fe80::1:4317"), "`fe80::1:4317` is ambiguous");
        assert_eq!(reason("http://"), "there is no host");
        assert_eq!(reason("http://backend?x=1"), "`http://backend?x=1` has a query or a fragment");
        assert_eq!(reason("http://back end"), "`http://back end` holds white space");
        assert_eq!(reason("http://[::1"), "`[::1` opens a bracket and does not close it");
    }
}
