//! Browsers that ask for a page of another origin whether its script may send.

use std::time::Duration;

use engine_config::SecretRef;
use transport::Protocol;
use transport::server::{Auth, AuthOptions, Cors, CorsOptions, Refusal};

use crate::harness::{Answer, TestServer, logs_bytes};
use crate::http_server::{over_http1, post, status_of};

const SHOP: &str = "https://shop.example.com";

fn start(origins: &[&str], headers: &[&str]) -> (TestServer, tempfile::TempDir) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "token").unwrap();
    let options = CorsOptions {
        allowed_origins: owned(origins),
        allowed_headers: owned(headers),
        max_age: Duration::from_secs(600),
    };
    let mut builder = TestServer::builder(Protocol::Http);
    builder.options.cors = Some(Cors::new(options).unwrap());
    let auth = AuthOptions { tokens: vec![SecretRef::File(token)], ..AuthOptions::default() };
    builder.options.auth = Some(Auth::new(&auth).unwrap());
    (builder.start(), directory)
}

async fn ask(server: &TestServer, origin: &str) -> Answer {
    let head = http::Request::options("/v1/traces")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-custom");
    over_http1(server, head, Vec::new()).await
}

/// A browser that asks for an allowed page is told so, without credentials, which it cannot send then; for another page
/// it is refused, which is counted.
#[tokio::test]
async fn answers_preflights() {
    let (server, _directory) = start(&[SHOP, "https://*.pay.example.com"], &["Authorization"]);
    for origin in [SHOP, "https://eu.pay.example.com"] {
        let answer = ask(&server, origin).await;
        assert_eq!(answer.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type, content-encoding, Authorization"),
            ("access-control-max-age", "600"),
            ("vary", "origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
    }
    for origin in ["https://evil.example.com", "https://pay.example.com", "http://shop.example.com", "null"] {
        let answer = ask(&server, origin).await;
        assert_eq!((answer.status.as_u16(), answer.header("vary")), (403, Some("origin")), "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
    let totals = server.stop().await.totals;
    assert_eq!((totals.refused(Refusal::Origin), totals.refused(Refusal::Unauthorized)), (4, 0));
}

/// Scripts get to read every answer, also a refusal, and only scripts of allowed pages.
#[tokio::test]
async fn shows_answers_to_scripts() {
    let (server, _directory) = start(&[SHOP], &[]);
    let with_token = |head: http::request::Builder| head.header("authorization", "Bearer token");
    for (head, status) in [
        (with_token(post("/v1/logs")), 200),
        (post("/v1/logs"), 401),
        (with_token(post("/v1/unknown")), 404),
        (with_token(http::Request::post("/v1/logs")), 415),
        (with_token(http::Request::options("/v1/logs")), 405),
    ] {
        let answer = over_http1(&server, head.header("origin", SHOP), logs_bytes(1)).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (status, Some(SHOP)));
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    for head in [with_token(post("/v1/logs")), with_token(post("/v1/logs")).header("origin", "https://evil.com")] {
        let answer = over_http1(&server, head, logs_bytes(1)).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, None));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    server.stop().await;
}

/// Every page and every header: credentials that a browser adds by itself stay out.
#[tokio::test]
async fn lets_every_page_send() {
    let (server, _directory) = start(&["*"], &["*"]);
    let answer = ask(&server, "https://anybody.example").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,content-type,x-custom"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    server.stop().await;
}

/// Without the option nothing is said to browsers.
#[tokio::test]
async fn says_nothing_by_default() {
    let server = TestServer::builder(Protocol::Http).start();
    let answer = ask(&server, SHOP).await;
    assert_eq!((answer.status.as_u16(), status_of(&answer).code), (405, 12));
    let answer = over_http1(&server, post("/v1/logs").header("origin", SHOP), logs_bytes(1)).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(answer.header("vary"), None);
    server.stop().await;
}
