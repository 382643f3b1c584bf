//! The sink `prometheus` against a real Prometheus: it scrapes both formats, and its API has what was sent. The checker that
//! comes with it has nothing to say about the text. With that sink, and without Prometheus, the source `internal` is looked
//! at too.
//!
//! Needs Prometheus of Debian or any other one from 2.42 on; `tests/all` unpacks it where it is missing.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod own;
mod request;
mod scraper;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use scraper::{Scraper, only_text};

/// Every kind of metric arrives with its name, type, labels and value by both formats, exemplars by OpenMetrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_has_what_was_sent() {
    let config = r#"
        [sources.apps]
        type = "otlp"
        http.listen = "127.0.0.1:0"
        [sinks.scraped]
        type = "prometheus"
        inputs = ["apps"]
        listen = "127.0.0.1:0"
        acknowledge = "delivered"
    "#;
    let engine = Engine::start(config, "scraped").await;
    let sink = engine.addresses["scraped"];
    let answer = post(engine.addresses["apps"], "/v1/metrics", &request::of_every_kind()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let text = eventually("the metrics are shown", || async move {
        let page = get(sink, "/metrics", "text/plain").await;
        page.contains("shop_hits_total").then_some(page)
    })
    .await;
    checked(body(&text)).await;

    let proxy = only_text(sink).await;
    let scraper = Scraper::start(&[("open", sink), ("text", proxy)]).await;
    for job in ["open", "text"] {
        let cases = [
            ("shop_hits_total", "", 42.0),
            ("shop_temperature_celsius", "", -3.5),
            ("shop_fill_ratio", "", 0.25),
            ("shop_open_carts", "", 7.0),
            ("shop_bytes_total", "", 30.0),
            ("shop_duration_seconds_bucket", r#"le=~"0.5|0.5""#, 1.0),
            ("shop_duration_seconds_bucket", r#"le=~"1|1.0""#, 3.0),
            ("shop_duration_seconds_bucket", r#"le="+Inf""#, 6.0),
            ("shop_duration_seconds_sum", "", 12.5),
            ("shop_duration_seconds_count", "", 6.0),
            ("shop_size_bytes_bucket", r#"le=~"2|2.0""#, 5.0),
            ("shop_size_bytes_count", "", 8.0),
            ("shop_rpc_seconds", r#"quantile="0.99""#, 0.25),
            ("shop_rpc_seconds_count", "", 5.0),
            ("target_info", r#"host_name="node-7""#, 1.0),
        ];
        for (name, selector, expected) in cases {
            let query = format!(r#"{name}{{job="shop/cart",instance="i-1",scraped_by="{job}",{selector}}}"#);
            assert_eq!(scraper.value(&query).await, Some(expected), "{query}");
        }
        // The labels that were sent, with everything in them that could end a line.
        let odd = format!(r#"shop_hits_total{{scraped_by="{job}"}}"#);
        assert_eq!(scraper.label(&odd, "odd").await, request::ODD);
        // Series that a label tried to forge are not there.
        assert_eq!(scraper.value(&format!(r#"forged{{scraped_by="{job}"}}"#)).await, None);
        assert_eq!(scraper.value(&format!(r#"scrape_samples_scraped{{job="{job}"}}"#)).await, Some(22.0));
        // What `target_info` is for.
        let joined = format!(
            r#"shop_hits_total{{scraped_by="{job}"}} * on (job, instance) group_left (host_name) target_info{{scraped_by="{job}"}}"#
        );
        assert_eq!(scraper.label(&joined, "host_name").await, "node-7");
    }
    let types = scraper.types("open").await;
    let expected = [
        ("shop_hits", "counter"),
        ("shop_temperature_celsius", "gauge"),
        ("shop_open_carts", "gauge"),
        ("shop_duration_seconds", "histogram"),
        ("shop_size_bytes", "histogram"),
        ("shop_rpc_seconds", "summary"),
        ("target", "info"),
    ];
    for (name, expected) in expected {
        // Older versions keep the name of the sample.
        let found = types
            .get(name)
            .or_else(|| types.get(&format!("{name}_total")))
            .or_else(|| types.get(&format!("{name}_info")));
        assert_eq!(found.map(String::as_str), Some(expected), "{name} in {types:?}");
    }
    assert_eq!(scraper.exemplar("shop_duration_seconds_bucket").await, "ab".repeat(16));
}

/// A running engine.
struct Engine {
    addresses: BTreeMap<String, SocketAddr>,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Engine {
    /// Starts one with this configuration and an administration server, and waits until `listener` listens.
    async fn start(rest: &str, listener: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("engine.toml");
        let text = format!("version = 1\nadmin.listen = \"127.0.0.1:0\"\n{rest}");
        std::fs::write(&config, text).unwrap();
        let file = folder.path().join("addresses");
        let mut child = Command::new(built("telemetry-engine"))
            .args(["run", "--config"])
            .arg(&config)
            .arg("--address-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let addresses = eventually("the engine listens", || {
            assert!(child.try_wait().unwrap().is_none(), "the engine ended");
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let line = |line: &str| {
                let mut words = line.split(' ');
                Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
            };
            let found: Option<BTreeMap<String, SocketAddr>> = text.lines().map(line).collect();
            std::future::ready(found.filter(|found| found.contains_key(listener)))
        })
        .await;
        Self { addresses, _child: child, _folder: folder }
    }
}

/// Has the checker read a page; it must find nothing.
async fn checked(page: &str) {
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(page.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "promtool says:\n{said}\nabout\n{page}");
}

/// A program of Prometheus: one that is installed, or the one that `tests/all` unpacked.
fn program(name: &str) -> PathBuf {
    let target = built("telemetry-engine").parent().and_then(Path::parent).unwrap().to_owned();
    let unpacked = target.join("prometheus/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name)).chain([unpacked]);
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("{name} is not there: install Prometheus (`apt-get install prometheus`), or run `tests/all`, which unpacks it")
    })
}

/// A program of this build; cargo puts test binaries into a folder beside it.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(binary.is_file(), "{} is not there: build it with `cargo build -p {name}`", binary.display());
    binary
}

/// Sends a protobuf request; returns the whole answer.
async fn post(address: SocketAddr, path: &str, message: &[u8]) -> String {
    let length = message.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
    );
    exchange(address, &[head.as_bytes(), message].concat()).await
}

/// Asks for a page; returns the whole answer.
async fn get(address: SocketAddr, path: &str, accept: &str) -> String {
    // The version before has no chunks.
    exchange(address, format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n").as_bytes()).await
}

async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_else(|| panic!("no answer: {answer}"))
}

/// Looks again until there is something, at most two minutes.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(120), looking).await {
        Ok(found) => found,
        Err(_) => panic!("waited for two minutes: {what}"),
    }
}
