//! Options of the `otlp` sink.
//!
//! How it says who it is stands in [`auth`], and how it connects in [`connections`].

pub mod auth;
pub mod connections;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::auth::Auth;
pub use self::connections::{Proxy, Spread};
use crate::address::{Endpoint, Scheme};
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::omit::is_default;
use crate::secret::{SecretRef, SensitiveText};
use crate::signal::SignalSet;
use crate::sink::{BatchSettings, SinkDefaults};
use crate::size::ByteSize;
use crate::span::Span;
use crate::tls::ClientTls;

/// Sends OTLP to a backend, over gRPC or over HTTP with protobuf or JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpSink {
    /// Address of the backend: `http://host:port` in clear, `https://host:port` with TLS. Without a port it is 80 or
    /// 443. With `protocol = "http"` a path may follow; the signal's own path is put behind it.
    pub endpoint: Endpoint,
    /// How requests travel.
    #[serde(default)]
    pub protocol: Protocol,
    /// What the bodies of requests are. JSON takes more than twice the bytes and many times the work: for backends that
    /// take nothing else. Only with `protocol = "http"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: Encoding,
    /// Whole paths by signal, in place of the endpoint's path and `/v1/logs`, `/v1/metrics`, `/v1/traces`. Only with
    /// `protocol = "http"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paths: Paths,
    /// How requests are compressed. Compression is 80 to 95 % of the cost of passing data on: leave it off inside a
    /// cluster, and use `"zstd"` where the way is expensive and the backend takes it.
    #[serde(default)]
    pub compression: Compression,
    /// How hard compression tries: 1 to 9 for gzip, 1 to 19 for zstd. Default: 1, because higher levels cost a multiple
    /// of the time and save little on OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub compression_level: Option<u8>,
    /// Headers of every request (metadata of gRPC): a text, or a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "format": "header-name" }))]
    pub headers: BTreeMap<String, HeaderValue>,
    /// How requests say who sends them: exactly one of `basic`, `bearer` and `oauth2`. Without it they do not, unless
    /// `headers` has something of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Longest time of one attempt, from connecting to the answer. An attempt that takes longer has failed and is made
    /// again as `retry` says, and what had arrived all the same arrives twice: in front of an engine that holds data or
    /// waits for its own backend it must be longer than that. A peer that is gone is found out by pings within 40 s.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m"))]
    pub timeout: Span,
    /// TLS of an `https://` endpoint. Its files are looked at again with the first connection 10 s after the last look; a
    /// new content is in use from then on for new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// HTTP proxy on the way to the backend: `"http://host:port"`, or a table with credentials. Everything goes through a
    /// tunnel (CONNECT), in clear or encrypted as the endpoint says; the proxy resolves the endpoint's name and never gets
    /// what is meant for the backend, nor the backend what is meant for the proxy. Environment variables such as
    /// `HTTPS_PROXY` are not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Which addresses of the endpoint's name there are connections to. For many engines in front of a backend with many
    /// addresses, such as agents in front of a headless Service: each engine keeps connections to a few of them, chosen so
    /// that the engines spread evenly, and an address that cannot be reached is left to the next in the engine's own order.
    /// Without it every connection is made to the next address in turn. Either way the name is resolved again every 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Largest request in its encoding, before compression; larger payloads are split. The default is what receivers take unless they are
    /// told otherwise.
    #[serde(default = "default_max_request_size")]
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub max_request_size: ByteSize,
}

/// The transport of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// OTLP over gRPC, usually on port 4317.
    #[default]
    Grpc,
    /// OTLP over HTTP, usually on port 4318.
    Http,
}

/// What the bodies of requests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Protobuf, which every backend takes.
    #[default]
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, which every backend takes.
    Gzip,
    /// zstd, which is faster and smaller.
    Zstd,
    /// snappy, which is the fastest and compresses least: for backends that ask for it.
    Snappy,
}

/// Whole paths by signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Path for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "url-path"))]
    pub logs: Option<String>,
    /// Path for metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "url-path"))]
    pub metrics: Option<String>,
    /// Path for traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "url-path"))]
    pub traces: Option<String>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderValue {
    /// A text. `config show` does not print it.
    Plain(SensitiveText),
    /// A secret.
    Secret(SecretHeader),
}

/// A header whose value is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretHeader {
    /// Where the value comes from: `"file:/path"`, `"directory:NAME"` or `"env:NAME"`. A file is looked at again with the
    /// first request 10 s after the last look, and at once when the backend refuses the credentials; a new content is in
    /// use from then on, on the same connections. While a file is gone, empty or unfit, the last good content stays.
    pub secret: SecretRef,
    /// Text before the value, with one space between: `"Bearer"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "header-text"))]
    pub prefix: Option<String>,
}

impl OtlpSink {
    /// A sink with all defaults.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            protocol: Protocol::default(),
            paths: Paths::default(),
            compression: Compression::default(),
            compression_level: None,
            encoding: Encoding::default(),
            headers: BTreeMap::new(),
            auth: None,
            timeout: default_timeout(),
            tls: None,
            proxy: None,
            spread: None,
            max_request_size: default_max_request_size(),
        }
    }

    /// The level of compression in force.
    pub fn level(&self) -> u8 {
        self.compression_level.unwrap_or(1)
    }

    fn check_protocol(&self, checker: &mut Checker) {
        match self.protocol {
            Protocol::Grpc => {
                if !self.endpoint.path().is_empty() {
                    let message = format!("the path `{}` has no meaning with gRPC", self.endpoint.path());
                    checker.error(["endpoint"], message).help("remove it, or set `protocol = \"http\"`");
                }
                if self.paths != Paths::default() {
                    let message = "`paths` has no effect with gRPC";
                    checker.no_effect(["paths"], message).help("remove it, or set `protocol = \"http\"`");
                }
                if self.encoding == Encoding::Json {
                    let message = "gRPC knows no JSON";
                    checker.error(["encoding"], message).help("remove it, or set `protocol = \"http\"`");
                }
                if self.endpoint.port() == 4318 {
                    let message = "port 4318 is usually OTLP over HTTP, and this sink speaks gRPC";
                    checker.warning(["endpoint"], message).help("set `protocol = \"http\"`, or use port 4317");
                }
            }
            Protocol::Http => {
                if self.endpoint.port() == 4317 {
                    let message = "port 4317 is usually OTLP over gRPC, and this sink speaks HTTP";
                    checker.warning(["endpoint"], message).help("set `protocol = \"grpc\"`, or use port 4318");
                }
            }
        }
    }

    fn check_compression(&self, checker: &mut Checker) {
        let Some(level) = self.compression_level else { return };
        match self.compression {
            Compression::None => {
                let message = "`compression_level` has no effect without `compression`";
                checker.no_effect(["compression_level"], message).help("set `compression` or remove the level");
            }
            Compression::Snappy => {
                let message = "`compression_level` has no effect with snappy";
                checker.no_effect(["compression_level"], message).help("remove it");
            }
            Compression::Gzip if level > 9 => {
                let message = format!("gzip has no level {level}");
                checker.invalid(["compression_level"], message).expected("a whole number from 1 to 9");
            }
            Compression::Gzip | Compression::Zstd => {}
        }
    }

    fn check_headers(&self, checker: &mut Checker) {
        let mut seen = BTreeMap::new();
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("grpc-") {
                let message = format!("the header `{name}` is set by the sink itself");
                checker.error(["headers", name], message).help("remove it");
            }
            if lower == "authorization" && self.auth.is_some() {
                let message = format!("the header `{name}` and `auth` exclude each other");
                checker.error(["headers", name], message).help("keep one of them");
            }
            if let Some(first) = seen.insert(lower, name) {
                let message = format!("the headers `{first}` and `{name}` are the same: case does not count");
                checker.error(["headers", name], message).help("keep one of them");
            }
            if let HeaderValue::Plain(text) = value
                && !is_header_text(text.expose())
            {
                let message = format!("the value of header `{name}` holds characters that a header cannot carry");
                checker.invalid(["headers", name], message).expected("visible ASCII characters and spaces");
            }
        }
    }
}

impl ComponentOptions for OtlpSink {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "otlp";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        self.check_protocol(checker);
        self.check_compression(checker);
        self.check_headers(checker);
        if let Some(auth) = &self.auth {
            auth.check(&self.endpoint, checker);
        }
        if let Some(proxy) = &self.proxy {
            proxy.check(checker);
        }
        if let Some(spread) = &self.spread {
            spread.check(&self.endpoint, self.proxy.as_ref(), checker);
        }
        let Some(tls) = &self.tls else { return };
        if self.endpoint.scheme() == Scheme::Http {
            let message = "`tls` has no effect with an `http://` endpoint";
            checker.no_effect(["tls"], message).help("write `https://`, or remove `tls`");
        }
        tls.check(checker);
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts { max_request_size: Some(self.max_request_size), ..Facts::sink(SignalSet::ALL) };
        for (name, value) in &self.headers {
            if let HeaderValue::Secret(header) = value {
                facts = facts.reads(["headers", name, "secret"], header.secret.clone());
            }
        }
        if let Some(auth) = &self.auth {
            facts = auth.references(facts);
        }
        if let Some(proxy) = &self.proxy {
            facts = proxy.references(facts);
        }
        if let Some(tls) = &self.tls {
            facts = tls.references(facts);
        }
        facts
    }

    /// Merging costs little (ropes are joined, not copied) and saves the backend a multiple of requests; 1 MiB stays
    /// below the 4 MiB that receivers take, and 200 ms is not noticed by anybody who looks at telemetry. 16 requests
    /// under way carry 80 MiB/s to a backend that answers after 200 ms.
    fn sink_defaults() -> SinkDefaults {
        let batch =
            BatchSettings { max_size: ByteSize::mib(1), max_records: None, timeout: Duration::from_millis(200) };
        SinkDefaults { batch: Some(batch), concurrency: NonZeroU32::new(16).expect("not zero") }
    }
}

/// Headers that belong to the protocol.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header can carry a text: visible ASCII and spaces, no space at either end.
pub(crate) fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim_matches(' ') == text
}

/// Warns of what goes over a network in clear, unless the network is this host.
fn warn_of_plain_text<const N: usize>(path: [&str; N], what: &str, endpoint: &Endpoint, checker: &mut Checker) {
    let host = endpoint.host();
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if endpoint.scheme() == Scheme::Http && !is_loopback {
        let message = format!("{what} go in clear to {host}: everybody on the way can read them");
        checker.warning(path, message).help("write `https://` if the other side can");
    }
}

const fn default_timeout() -> Span {
    Span::secs(10)
}

const fn default_max_request_size() -> ByteSize {
    ByteSize::mib(4)
}
