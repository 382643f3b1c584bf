//! The source as a configuration describes it, through real sockets.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::net::SocketAddr;

use engine_config::sources::OtlpSource;
use engine_config::{Catalog, Environment, ParseOptions, Resource, SourceFile, load};
use engine_core::budget::Budget;
use engine_core::registry::{BuildContext, BuildSource};
use engine_core::service::Services;
use engine_core::socket::Sockets;
use engine_core::test_kit::{SourceRun, lanes, run_source, within};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::otlp::Otlp;

/// Runs the source `apps` of a configuration; gives the addresses of its listeners in their order.
fn start(source: &str) -> (SourceRun, Vec<SocketAddr>) {
    let text = format!("version = 1\n{source}\n[sinks.to]\ntype = \"blackhole\"\ninputs = [\"apps\"]\n");
    let files = [SourceFile::new("test.toml", text)];
    let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let node = loaded.plan.node("apps").unwrap();
    let (threads, lanes) = lanes(1);
    let context = BuildContext { id: node.id.clone(), signals: node.signals, lanes, services: Services::default() };
    let built = Otlp::build(node.options.downcast_ref::<OtlpSource>().unwrap(), &context).unwrap();
    threads.stop();
    let sockets = Sockets::default();
    let mut addresses = Vec::new();
    for claim in &node.facts.claims {
        let Resource::Tcp(address) = claim.resource else { panic!("no socket: {claim:?}") };
        sockets.bind(&node.id, &claim.key(), address.get()).unwrap();
        addresses.push(sockets.lend(&node.id, &claim.key(), address.get()).unwrap().local_addr().unwrap());
    }
    (run_source("apps", Box::new(built), sockets, Budget::new(1 << 26)), addresses)
}

/// Sends one request without records, which goes no further, and returns the answer.
async fn post(address: SocketAddr, headers: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\
         connection: close\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

fn count(run: &SourceRun, name: &str) -> u64 {
    run.telemetry.read().own[name]
}

/// Waits until the place of the last connection is free again.
async fn closed(run: &SourceRun) {
    let closing = async {
        while count(run, "connections_open") > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the end of a connection", closing).await;
}

/// Tokens, pages and limits of the configuration are those of the socket, refusals are counted under their reasons, and an
/// expired certificate is an error that the component tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listens_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("token"), "a-token\n").unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    std::fs::write(path("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(path("tls.key"), key.serialize_pem()).unwrap();

    let (mut run, addresses) = start(&format!(
        r#"[sources.apps]
type = "otlp"
[sources.apps.grpc]
listen = "127.0.0.1:0"
tls = {{ certificate = "{}", key = "{}" }}
[sources.apps.http]
listen = "127.0.0.1:0"
max_connections_per_address = 1
auth = {{ bearer.tokens = ["file:{}"], basic.users = {{ agent = "file:{}" }} }}
cors = {{ allowed_origins = ["https://*.example.com"], max_age = "1m" }}
"#,
        path("tls.crt"),
        path("tls.key"),
        path("token"),
        path("token"),
    ));
    let http = addresses[1];
    let refused = post(http, "origin: https://shop.example.com\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Bearer, Basic"), "{refused}");
    assert!(refused.contains("access-control-allow-origin: https://shop.example.com"), "{refused}");
    assert_eq!(count(&run, "unauthorized"), 1);
    closed(&run).await;
    for credentials in ["Bearer a-token", "Basic YWdlbnQ6YS10b2tlbg=="] {
        let headers = format!("authorization: {credentials}\r\n");
        let answer = post(http, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        closed(&run).await;
    }
    assert_eq!(run.telemetry.read().errors["certificate_expired"], 1);
    assert!(run.telemetry.health().last_error.unwrap().message.contains("tls.crt"));

    let held = TcpStream::connect(http).await.unwrap();
    let mut second = TcpStream::connect(http).await.unwrap();
    assert_eq!(within("the end", second.read(&mut [0])).await.unwrap_or(0), 0);
    assert_eq!(count(&run, "connections_per_address"), 1);
    run.drain.cancel();
    drop(held);
    within("the end", &mut run.ended).await.unwrap().unwrap();
}
