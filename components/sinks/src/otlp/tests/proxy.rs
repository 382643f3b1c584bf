//! Through a proxy, to the backend and to the authorization server.

use engine_config::Span;
use engine_config::sinks::otlp::Proxy;
use engine_config::sinks::otlp::auth::{ClientAuthentication, OAuth2 as Options};
use engine_config::sinks::otlp::connections::ProxyTable;

use super::*;

/// Both are asked for by name, with the proxy's credentials in the question only. The peer is proxy and other side in
/// one: after it has agreed to connect it answers itself.
#[tokio::test]
async fn everything_goes_through_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let token = r#"{"access_token":"token-1","token_type":"Bearer","expires_in":100}"#;
    let peer = Peer::start(move |request| match request.target.as_str() {
        "/token" => ("200 OK", "application/json", token.to_owned()),
        _ => ("200 OK", "application/x-protobuf", String::new()),
    })
    .await;
    let mut options = OtlpSink::new("http://backend.test:4318".parse().unwrap());
    options.protocol = Protocol::Http;
    options.proxy = Some(Proxy::Table(ProxyTable {
        url: format!("http://{}", peer.address).parse().unwrap(),
        username: Some(TextOrSecret::Text("Aladdin".to_owned())),
        password: Some(file_reference(&file)),
    }));
    let oauth2 = Options {
        token_url: "http://login.test/token".to_owned(),
        client_id: TextOrSecret::Text("engine".to_owned()),
        client_secret: file_reference(&file),
        scopes: Vec::new(),
        parameters: Default::default(),
        client_authentication: ClientAuthentication::Body,
        tls: None,
        timeout: Span::secs(10),
    };
    options.auth = Some(Auth { oauth2: Some(oauth2), ..Auth::default() });
    let sink = built(&options);
    for _ in 0..2 {
        assert_eq!(outcome(&sink).await, Outcome::Delivered);
    }
    let received = peer.received.lock().unwrap().clone();
    let targets: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["login.test:80", "/token", "backend.test:4318", "/v1/logs", "/v1/logs"]);
    let said = |name: &str| received.iter().map(|request| request.headers.get(name).cloned()).collect::<Vec<_>>();
    // From RFC 7617, section 2.
    let to_proxy = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned());
    assert_eq!(said("proxy-authorization"), [to_proxy.clone(), None, to_proxy, None, None]);
    let to_backend = Some("Bearer token-1".to_owned());
    assert_eq!(said("authorization"), [None, None, None, to_backend.clone(), to_backend]);
}
