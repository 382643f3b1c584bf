//! Whom the listener for an operator answers, without a socket where none is needed.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{ListenAddress, SecretRef, StatusSettings};
use http_body_util::BodyExt;

use super::super::series::Series;
use super::super::state::{Facts, State};
use super::*;
use crate::logging::Repeats;
use crate::reload::Reloads;

fn state() -> State {
    let facts = Facts { role: None, config_hash: "abc".to_owned(), memory_limit: 1 << 20, series: Series::default() };
    State::new(facts, Arc::new(Repeats::default()), Reloads::channel().0)
}

fn with_token(text: &str) -> (tempfile::TempDir, Door) {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, text).unwrap();
    let options = AuthOptions { tokens: vec![SecretRef::File(token)], ..AuthOptions::default() };
    (directory, Door::Status(Auth::new(&options).unwrap()))
}

/// Asks as somebody in a cluster does, who names a pod or a service.
async fn ask(door: &Door, method: Method, path: &str, credentials: Option<&str>) -> (StatusCode, String) {
    let mut request =
        Request::builder().method(method).uri(path).header(header::HOST, "gateway-0.gateway.telemetry.svc");
    if let Some(credentials) = credentials {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    let response = server::answer(&request.body(()).unwrap(), door, &state()).await;
    let status = response.status();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE).map(|challenge| challenge.to_str().unwrap());
    assert_eq!(challenge, (status == StatusCode::UNAUTHORIZED).then_some("Bearer"), "{path}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The kubelet, which has no token and asks by the address of the pod, learns whether the process lives and is ready.
#[tokio::test]
async fn probes_need_no_token() {
    let (_directory, door) = with_token("right");
    assert_eq!(ask(&door, Method::GET, "/livez", None).await, (StatusCode::OK, "alive\n".to_owned()));
    let unready = (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned());
    assert_eq!(ask(&door, Method::GET, "/readyz", None).await, unready);
    assert_eq!(ask(&door, Method::GET, "/readyz", Some("Bearer wrong")).await, unready);
}

/// What the process does is told to whoever has the token, and everything else is refused before it is looked at.
#[tokio::test]
async fn the_rest_needs_the_token() {
    let (_directory, door) = with_token("right\n");
    for path in ["/status", "/metrics", "/", "/statuz"] {
        for credentials in [None, Some("Bearer wrong"), Some("Basic cmlnaHQ6"), Some("right")] {
            let (status, text) = ask(&door, Method::GET, path, credentials).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {credentials:?}");
            assert!(!text.contains("abc"), "{text}");
        }
    }
    let right = Some("Bearer right");
    let (status, text) = ask(&door, Method::GET, "/status", right).await;
    let document: engine_config::status::Status = serde_json::from_str(&text).unwrap();
    assert_eq!((status, document.config_hash.as_str()), (StatusCode::OK, "abc"));
    assert!(!text.contains('\n'), "programs need no lines");
    assert_eq!(ask(&door, Method::HEAD, "/metrics", right).await.0, StatusCode::OK);
    assert_eq!(ask(&door, Method::GET, "/statuz", right).await.0, StatusCode::NOT_FOUND);
}

/// Nothing is changed through this listener, whoever asks for it and whatever there is to change.
#[tokio::test]
async fn nothing_is_changed() {
    let (_directory, door) = with_token("right");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        for path in ["/livez", "/readyz", "/status", "/metrics", "/reload", "/"] {
            for credentials in [None, Some("Bearer right")] {
                let (status, text) = ask(&door, method.clone(), path, credentials).await;
                let refused = (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
                assert_eq!((status, text.as_str()), refused, "{method} {path}");
            }
        }
    }
}

/// Who looks for a token finds the local listener closed to names of pages, as if there were no second one.
#[tokio::test]
async fn a_token_opens_no_other_door() {
    let answer = ask(&Door::Local, Method::GET, "/status", Some("Bearer right")).await;
    assert_eq!(answer.0, StatusCode::FORBIDDEN);
}

fn settings(directory: &std::path::Path, token: &str) -> ProcessSettings {
    let path = directory.join("token");
    std::fs::write(&path, token).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    ProcessSettings {
        admin_listen: any_port,
        status: Some(StatusSettings { listen: ListenAddress(any_port), token: SecretRef::File(path) }),
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::ZERO,
        lanes: 1,
        role: None,
        state_directory: None,
        kubernetes: engine_config::KubernetesSettings::default(),
    }
}

/// Both listeners are bound and told under their names; without the settings there is one.
#[test]
fn listeners_are_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path(), "right");
    let both = Doors::open(&settings).unwrap().bound();
    let names: Vec<_> = both.iter().map(|bound| (bound.component.as_str(), bound.key.as_str())).collect();
    assert_eq!(names, [("admin", "listen"), ("status", "listen")]);
    assert!(both.iter().all(|bound| bound.address.port() > 0));
    settings.status = None;
    assert_eq!(Doors::open(&settings).unwrap().bound().len(), 1);
}

/// A taken port and a token that nobody could show are both told, and no listener is left half open.
#[test]
fn all_that_is_wrong_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(directory.path(), "canary\u{f6}");
    settings.admin_listen = taken.local_addr().unwrap();
    let errors = Doors::open(&settings).unwrap_err();
    let texts: Vec<String> = errors.iter().map(|error| crate::logging::Chain(error).to_string()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("admin: cannot listen on 127.0.0.1:"), "{texts:?}");
    assert!(texts[1].starts_with("status: ") && texts[1].contains("characters"), "{texts:?}");
    assert!(!texts[1].contains("canary"), "{texts:?}");
}
