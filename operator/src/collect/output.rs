//! The backend of a pipeline, from what it writes.

use engine_config::sinks::otlp::{Compression, Protocol};
use engine_config::{Endpoint, Scheme, SensitiveText};

use super::model::{Authentication, Header, Output, Tls};
use super::resolve::Resolver;
use crate::crd;
use crate::validate::endpoint::{self, Encryption};
use crate::validate::{Problem, Reason};

/// Reads an output. Without a result the resolver has at least one problem.
pub(super) fn output(written: &crd::OtlpOutput, resolver: &mut Resolver<'_>) -> Option<Output> {
    let protocol = match written.protocol {
        crd::Protocol::Grpc => Protocol::Grpc,
        crd::Protocol::Http => Protocol::Http,
    };
    let insecure = written.tls.as_ref().is_some_and(|tls| tls.insecure);
    let endpoint = resolver.plain("endpoint", &written.endpoint).and_then(|text| {
        let encryption = if insecure { Encryption::Off } else { Encryption::On };
        let read = endpoint::read(&text, protocol, encryption);
        // What comes from a Secret may hold one, so it is not repeated.
        let said = |error: String| match written.endpoint.secret_key_ref() {
            Some(from) => {
                let expected = match protocol {
                    Protocol::Grpc => "<host>:<port>",
                    Protocol::Http => "http://<host>[:<port>] or https://<host>[:<port>]",
                };
                format!(
                    "Key '{}' in Secret '{}' of Namespace '{}' holds no address; expected {expected}",
                    from.key, from.name, from.namespace
                )
            }
            None => error,
        };
        read.map_err(|error| invalid_endpoint(resolver, &said(error))).ok()
    });
    let authentication = written.authentication.as_ref().map(|written| authentication(written, resolver));
    let headers: Vec<Option<Header>> = written.headers.iter().map(|header| self::header(header, resolver)).collect();
    if written.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        let message = "output.otlp.tls.insecureSkipVerify is not supported: certificates of backends are always \
                       verified. Put the authority that signed the backend's certificate into output.otlp.tls.ca, or \
                       send in clear with output.otlp.tls.insecure";
        resolver.problem(Reason::FieldNotSupported, message);
    }
    // What is not encrypted has no certificates, whether they could be read or not.
    let is_encrypted = !insecure && endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() == Scheme::Https);
    let tls = match written.tls.as_ref().filter(|_| is_encrypted) {
        Some(tls) => self::tls(tls, resolver),
        None => Some(Tls::default()),
    };
    let endpoint = endpoint?;
    let authentication = match authentication {
        // It was written and could not be read.
        Some(None) => return None,
        read => read.flatten(),
    };
    let tls = tls?;
    if let Some(Authentication::OAuth2 { .. }) = &authentication
        && protocol == Protocol::Grpc
        && endpoint.scheme() == Scheme::Http
    {
        invalid_endpoint(resolver, "OAuth2 requires TLS when using gRPC protocol");
        return None;
    }
    let path = written.path.as_deref().filter(|path| !path.is_empty());
    let path = path.map(|path| endpoint::joined(&endpoint, path));
    Some(Output {
        secret_texts: secret_texts(written, &endpoint, path.as_deref(), authentication.as_ref()),
        path,
        endpoint,
        protocol,
        compression: match written.compression {
            Some(crd::Compression::None) => Compression::None,
            Some(crd::Compression::Gzip) | None => Compression::Gzip,
            Some(crd::Compression::Snappy) => Compression::Snappy,
            Some(crd::Compression::Zstd) => Compression::Zstd,
        },
        authentication,
        headers: headers.into_iter().collect::<Option<_>>()?,
        tls,
    })
}

/// What of the configuration came from a Secret.
fn secret_texts(
    written: &crd::OtlpOutput,
    endpoint: &Endpoint,
    path: Option<&str>,
    authentication: Option<&Authentication>,
) -> Vec<SensitiveText> {
    let mut texts = Vec::new();
    if written.endpoint.secret_key_ref().is_some() {
        texts.push(endpoint.to_string());
        texts.extend(path.map(str::to_owned));
    }
    let oauth2 = written.authentication.as_ref().and_then(|written| written.oauth2.as_ref());
    let is_secret = oauth2.is_some_and(|oauth2| oauth2.token_url.secret_key_ref().is_some());
    if let Some(Authentication::OAuth2 { token_url, .. }) = authentication.filter(|_| is_secret) {
        texts.push(token_url.clone());
    }
    texts.into_iter().map(SensitiveText::new).collect()
}

fn invalid_endpoint(resolver: &mut Resolver<'_>, what: &str) {
    resolver.problems.push(Problem::new(Reason::EndpointInvalid, format!("OTLP output endpoint invalid: {what}")));
}

fn authentication(written: &crd::Authentication, resolver: &mut Resolver<'_>) -> Option<Authentication> {
    if let Some(basic) = &written.basic {
        let user = resolver.text("authentication.basic.user", &basic.user);
        let password = resolver.text("authentication.basic.password", &basic.password);
        return Some(Authentication::Basic { user: user?, password: password? });
    }
    let Some(oauth2) = &written.oauth2 else {
        let message = "output.otlp.authentication names no method; expected 'basic' or 'oauth2'";
        resolver.problem(Reason::ConfigurationInvalid, message);
        return None;
    };
    let token_url = resolver.plain("authentication.oauth2.tokenURL", &oauth2.token_url);
    let token_url = token_url.filter(|text| {
        let is_url = text.parse::<Endpoint>().is_ok_and(|url| url.scheme() == Scheme::Https);
        if !is_url {
            let message = "authentication.oauth2.tokenURL is no address of an authorization server; expected \
                           https://<host>[:<port>]/<path>";
            resolver.problem(Reason::ConfigurationInvalid, message);
        }
        is_url
    });
    let client_id = resolver.text("authentication.oauth2.clientID", &oauth2.client_id);
    let client_secret = resolver.text("authentication.oauth2.clientSecret", &oauth2.client_secret);
    let parameters = oauth2.params.iter().map(|(name, value)| (name.clone(), SensitiveText::new(value.expose())));
    Some(Authentication::OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes: oauth2.scopes.clone(),
        parameters: parameters.collect(),
    })
}

fn header(written: &crd::Header, resolver: &mut Resolver<'_>) -> Option<Header> {
    let value = resolver.text(&format!("headers.{}", written.name), &written.value)?;
    let prefix = written.prefix.clone().filter(|prefix| !prefix.is_empty());
    Some(Header { name: written.name.clone(), prefix, value })
}

fn tls(written: &crd::OutputTls, resolver: &mut Resolver<'_>) -> Option<Tls> {
    let mut read = |field, value: &Option<crd::ValueType>| match value {
        Some(value) => resolver.text(field, value).map(Some),
        None => Some(None),
    };
    let ca = read("tls.ca", &written.ca);
    let certificate = read("tls.cert", &written.cert);
    let key = read("tls.key", &written.key);
    let client = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let message = "TLS configuration invalid: can define either both 'cert' and 'key', or neither";
            resolver.problem(Reason::TlsConfigurationInvalid, message);
            return None;
        }
    };
    Some(Tls { ca: ca?, client })
}
