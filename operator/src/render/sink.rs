//! The sink of a pipeline: its backend in the engine's words.

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::auth::{Auth, BasicAuth, ClientAuthentication, OAuth2, SecretText, TextOrSecret};
use engine_config::sinks::otlp::{HeaderValue, Paths, SecretHeader};
use engine_config::{ClientTls, Scheme, Span};

use super::files::Files;
use crate::collect::{Authentication, Pipeline, Text, Tls};
use crate::role::Signal;

/// Longest request for a token.
const TOKEN_TIMEOUT: Span = Span::secs(10);

/// The options of the sink; what it reads is put into `files`.
pub(super) fn options(pipeline: &Pipeline, files: &mut Files) -> OtlpSink {
    let output = &pipeline.output;
    let mut options = OtlpSink::new(output.endpoint.clone());
    options.protocol = output.protocol;
    options.compression = output.compression;
    if let Some(path) = &output.path {
        options.paths = paths(pipeline.id.signal, path);
    }
    options.headers = output
        .headers
        .iter()
        .map(|header| {
            let secret = files.secret(&header.value);
            (header.name.clone(), HeaderValue::Secret(SecretHeader { secret, prefix: header.prefix.clone() }))
        })
        .collect();
    options.auth = output.authentication.as_ref().map(|authentication| auth(authentication, files));
    if output.endpoint.scheme() == Scheme::Https {
        options.tls = tls(&output.tls, files);
    }
    options
}

fn paths(signal: Signal, path: &str) -> Paths {
    let path = Some(path.to_owned());
    match signal {
        Signal::Logs => Paths { logs: path, ..Paths::default() },
        Signal::Metrics => Paths { metrics: path, ..Paths::default() },
        Signal::Traces => Paths { traces: path, ..Paths::default() },
    }
}

fn auth(authentication: &Authentication, files: &mut Files) -> Auth {
    match authentication {
        Authentication::Basic { user, password } => {
            let basic = BasicAuth { username: text(user, files), password: files.secret(password) };
            Auth { basic: Some(basic), ..Auth::default() }
        }
        Authentication::OAuth2 { token_url, client_id, client_secret, scopes, parameters } => {
            let oauth2 = OAuth2 {
                token_url: token_url.clone(),
                client_id: text(client_id, files),
                client_secret: files.secret(client_secret),
                scopes: scopes.clone(),
                parameters: parameters.clone(),
                client_authentication: ClientAuthentication::default(),
                tls: None,
                timeout: TOKEN_TIMEOUT,
            };
            Auth { oauth2: Some(oauth2), ..Auth::default() }
        }
    }
}

/// What is not secret by itself stands in the configuration, unless it comes from a Secret.
fn text(text: &Text, files: &mut Files) -> TextOrSecret {
    match text.origin {
        Some(_) => TextOrSecret::Secret(SecretText { secret: files.secret(text) }),
        None => TextOrSecret::Text(text.content.expose().to_owned()),
    }
}

fn tls(tls: &Tls, files: &mut Files) -> Option<ClientTls> {
    if *tls == Tls::default() {
        return None;
    }
    let mut options = ClientTls { ca: tls.ca.as_ref().map(|ca| files.pem(ca)), ..ClientTls::default() };
    if let Some((certificate, key)) = &tls.client {
        options.certificate = Some(files.pem(certificate));
        options.key = Some(files.pem(key));
    }
    Some(options)
}
