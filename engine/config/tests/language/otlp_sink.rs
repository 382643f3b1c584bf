//! What the checks of the `otlp` sink say of keys that do not go together.

use engine_config::SecretRef;
use insta::assert_snapshot;

use crate::{accepted, pair, refused};

fn sink(endpoint: &str, keys: &str) -> String {
    pair("", "otlp", &format!("type = \"otlp\"\nendpoint = \"{endpoint}\"\n{keys}"))
}

fn problems(keys: &str) -> String {
    refused(&sink("https://backend", keys))
}

/// Encodings belong to HTTP, and have names.
#[test]
fn encodings() {
    assert_snapshot!(problems("encoding = 'json'"), @r#"engine.toml:9:12: sinks.b: gRPC knows no JSON; remove it, or set `protocol = "http"`"#);
    assert_snapshot!(problems("protocol = 'http'\nencoding = 'jsn'"), @r#"engine.toml:10:12: sinks.b: `encoding` is the string "jsn", expected "protobuf" or "json", did you mean `json`?"#);
    accepted(&sink("https://backend", "protocol = 'http'\nencoding = 'json'\ncompression = 'snappy'"));
    assert_snapshot!(problems("compression = 'snappy'\ncompression_level = 1"), @"engine.toml:10:21: sinks.b: `compression_level` has no effect with snappy; remove it");
}

/// There is one way to say who one is, and it is complete.
#[test]
fn one_way_of_authentication() {
    let bearer = "auth.bearer.token = 'env:TOKEN'\n";
    assert_snapshot!(problems("auth = {}"), @"engine.toml:9:1: sinks.b: `auth` says nothing; write `auth.basic`, `auth.bearer` or `auth.oauth2`");
    assert_snapshot!(problems(&format!("{bearer}auth.basic = {{ username = 'a', password = 'env:B' }}")), @"engine.toml:9:6: sinks.b: `auth.basic` and `auth.bearer` exclude each other; keep one of them");
    assert_snapshot!(problems(&format!("{bearer}headers.Authorization = 'Basic YTpi'")), @"engine.toml:10:25: sinks.b: the header `Authorization` and `auth` exclude each other; keep one of them");
    assert_snapshot!(problems("auth.basic = { username = 'a:b', password = 'env:B' }"), @"engine.toml:9:27: sinks.b: this cannot be the name of a user, expected visible ASCII characters and spaces, without a colon");
    assert_snapshot!(problems("auth.basic = { user = 'a', password = 'hunter2' }"), @r#"
    engine.toml:9:6: sinks.b: `auth.basic.username` is missing, expected a string or a table
    engine.toml:9:16: sinks.b: unknown key `user` in `auth.basic`, did you mean `username`?
    engine.toml:9:39: sinks.b: `auth.basic.password`: a reference to a secret starts with `file:`, `directory:` or `env:`, expected "file:/path", "directory:NAME" or "env:NAME"
    "#);
    assert_snapshot!(problems("auth.oauth = { token_url = 'https://login' }"), @"engine.toml:9:6: sinks.b: unknown key `oauth` in `auth`, did you mean `oauth2`?");
}

/// Token requests.
#[test]
fn token_requests() {
    let oauth2 = |keys: &str| {
        problems(&format!("[sinks.b.auth.oauth2]\nclient_id = 'a'\nclient_secret = 'file:/run/secret'\n{keys}"))
    };
    assert_snapshot!(oauth2("token_url = 'login.example.com/token'"), @r#"engine.toml:12:13: sinks.b: `auth.oauth2.token_url`: `login.example.com/token` has no scheme, expected an address such as "https://login.example.com/oauth2/token"; write "http://login.example.com/token", or "https://login.example.com/token" for TLS"#);
    assert_snapshot!(oauth2("token_url = 'https://login/token'\nscopes = ['read write', '']"), @r#"
    engine.toml:13:10: sinks.b: `read write` is not a scope, expected visible ASCII characters without quotes and backslashes; each scope is an item of its own
    engine.toml:13:10: sinks.b: `` is not a scope, expected visible ASCII characters without quotes and backslashes; each scope is an item of its own
    "#);
    assert_snapshot!(oauth2("token_url = 'https://login/token'\nparameters = { scope = 'x' }"), @"engine.toml:13:24: sinks.b: the parameter `scope` is set by the sink itself; remove it");
    assert_snapshot!(oauth2("token_url = 'https://login/token'\nclient_authentication = 'post'"), @r#"engine.toml:13:25: sinks.b: `auth.oauth2.client_authentication` is the string "post", expected "basic" or "body""#);
    assert_snapshot!(oauth2("token_url = 'http://127.0.0.1/token'\ntls.certificate = '/run/tls.crt'"), @r#"
    engine.toml:13:1: sinks.b: `auth.oauth2.tls` has no effect with an `http://` address; write `https://`, or remove it
    engine.toml:13:19: sinks.b: `auth.oauth2.tls.certificate` without `auth.oauth2.tls.key`; add the key
    "#);
}

/// A proxy is an address without a path, spoken to in clear; who says a name says a password.
#[test]
fn proxies() {
    assert_snapshot!(problems("proxy = 'proxy:3128'"), @r#"engine.toml:9:9: sinks.b: `proxy`: `proxy:3128` has no scheme, expected an address such as "http://host:4317" or "https://host:4317"; write "http://proxy:3128", or "https://proxy:3128" for TLS"#);
    assert_snapshot!(problems("proxy = 'https://proxy:3128/path'"), @r#"
    engine.toml:9:9: sinks.b: a proxy is spoken to in clear: what goes through it is encrypted by the endpoint's `https://`; write `http://`
    engine.toml:9:9: sinks.b: the path `/path` has no meaning with a proxy; remove it
    "#);
    assert_snapshot!(problems("proxy = { url = 'http://localhost:3128', username = 'a' }"), @"engine.toml:9:53: sinks.b: `proxy.username` without `proxy.password`; add the password");
    assert_snapshot!(problems("proxy = { url = 'http://localhost:3128', password = 'env:B' }"), @"engine.toml:9:53: sinks.b: `proxy.password` without `proxy.username`; add the name");
    assert_snapshot!(problems("proxy = { address = 'http://localhost:3128' }"), @r#"
    engine.toml:9:1: sinks.b: `proxy.url` is missing, expected an address such as "http://host:4317" or "https://host:4317"
    engine.toml:9:11: sinks.b: unknown key `address` in `proxy`; known keys are `url`, `username`, `password`
    "#);
    accepted(&sink("https://backend", "proxy = 'http://proxy:3128'"));
    accepted(&sink("https://backend", "proxy = { url = 'http://[::1]:3128', username = 'a', password = 'env:B' }"));
}

/// Connections spread over the addresses of a name, not over one address, and not where a proxy chooses.
#[test]
fn spread() {
    assert_snapshot!(problems("spread.addresses = 0"), @"engine.toml:9:20: sinks.b: `spread.addresses` is 0, expected a whole number from 1 to 1024");
    assert_snapshot!(problems("spread = { node = 'a' }"), @"engine.toml:9:1: sinks.b: `spread.addresses` is missing, expected a whole number from 1 to 1024");
    assert_snapshot!(problems("spread.addresses = 2\nproxy = 'http://proxy:3128'"), @"engine.toml:9:1: sinks.b: `spread` has no effect with `proxy`: the proxy chooses the address; remove one of them");
    assert_snapshot!(refused(&sink("http://[::1]:4317", "spread.addresses = 2")), @"engine.toml:9:1: sinks.b: `spread` has no effect: ::1 is one address; write a name with several addresses, or remove it");
    accepted(&sink("https://backend", "spread = { addresses = 2, node = 'node-1' }"));
}

/// Who sends credentials in clear over a network is told so, and it runs.
#[test]
fn credentials_in_clear() {
    let warnings = |endpoint: &str, keys: &str| accepted(&sink(endpoint, keys)).plan.warnings.to_string();
    let bearer = "auth.bearer.token = 'env:TOKEN'";
    assert_snapshot!(warnings("http://backend:4317", bearer), @"engine.toml:9:1: warning: sinks.b: credentials go in clear to backend: everybody on the way can read them; write `https://` if the other side can");
    let oauth2 = "auth.oauth2 = { token_url = 'http://login/token', client_id = 'a', client_secret = 'env:B' }";
    assert_snapshot!(warnings("https://backend", oauth2), @"engine.toml:9:29: warning: sinks.b: the client's secret and tokens go in clear to login: everybody on the way can read them; write `https://` if the other side can");
    for endpoint in ["http://localhost:4317", "http://127.0.0.2:4317", "http://[::1]:4317", "https://backend"] {
        assert_eq!(warnings(endpoint, bearer), "");
    }
}

/// All secrets and files are known before the start, and those of the directory of secrets are found in it.
#[test]
fn secrets_are_references() {
    let keys = "[sinks.b.auth.oauth2]
token_url = 'https://login/oauth/token/'
client_id = { secret = 'directory:id' }
client_secret = 'directory:secret'
tls = { ca = '/run/ca.crt' }";
    let plan = accepted(&pair(
        "secrets.directory = '/run/secrets'",
        "otlp",
        &format!("type = 'otlp'\nendpoint = 'https://b'\n{keys}"),
    ))
    .plan;
    let found: Vec<_> = plan
        .node("b")
        .unwrap()
        .facts
        .references
        .iter()
        .map(|reference| (reference.path.join("."), reference.target.to_string()))
        .collect();
    let expected = [
        ("auth.oauth2.client_id.secret", "file:/run/secrets/id"),
        ("auth.oauth2.client_secret", "file:/run/secrets/secret"),
        ("auth.oauth2.tls.ca", "file:/run/ca.crt"),
    ];
    assert_eq!(
        found,
        expected.map(|(path, target)| (path.to_owned(), target.parse::<SecretRef>().unwrap().to_string()))
    );
}
