//! A Prometheus of the test's own: it scrapes every second, keeps exemplars, and is asked through its API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::{body, eventually, get, program};

/// A running Prometheus that has scraped every target at least once.
pub(crate) struct Scraper {
    address: SocketAddr,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Scraper {
    /// Starts one that scrapes these targets, by job.
    pub(crate) async fn start(targets: &[(&str, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
        for (job, address) in targets {
            config.push_str(&format!(
                "- {{job_name: {job}, honor_labels: true, static_configs: [{{targets: ['{address}'], labels: {{scraped_by: {job}}}}}]}}\n"
            ));
        }
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // It cannot say which port it was given, so a free one is looked for.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("Prometheus listens", || {
            let ended = child.try_wait().unwrap();
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(ended.is_none(), "Prometheus ended:\n{log}");
            async move { TcpStream::connect(address).await.ok() }
        })
        .await;
        // It answers 503 until it has read what it stored.
        eventually("Prometheus is ready", || async {
            body(&get(address, "/-/ready", "text/plain").await).contains("is Ready").then_some(())
        })
        .await;
        let scraper = Self { address, _child: child, _folder: folder };
        for (job, _) in targets {
            let up = format!(r#"up{{job="{job}"}} and on (job) scrape_samples_scraped > 0"#);
            eventually("a target is scraped", || async { scraper.value(&up).await.filter(|value| *value > 0.0) }).await;
        }
        scraper
    }

    /// The value of the one series of a query; none when there is none.
    pub(crate) async fn value(&self, query: &str) -> Option<f64> {
        let found = self.one(query).await?;
        Some(found["value"][1].as_str().unwrap().parse().unwrap())
    }

    /// A label of the one series of a query.
    pub(crate) async fn label(&self, query: &str, label: &str) -> String {
        let found = self.one(query).await.unwrap_or_else(|| panic!("nothing for {query}"));
        found["metric"][label].as_str().unwrap_or_else(|| panic!("no {label} in {found}")).to_owned()
    }

    /// The type of each metric of a job.
    pub(crate) async fn types(&self, job: &str) -> BTreeMap<String, String> {
        let target = format!("%7Bscraped_by%3D%22{job}%22%7D");
        let found = self.ask(&format!("/api/v1/targets/metadata?match_target={target}")).await;
        let text = |entry: &Json, key: &str| entry[key].as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(|entry| (text(entry, "metric"), text(entry, "type"))).collect()
    }

    /// The trace of the one exemplar of a metric.
    pub(crate) async fn exemplar(&self, metric: &str) -> String {
        let found = self.ask(&format!("/api/v1/query_exemplars?query={metric}&start=0&end=9999999999")).await;
        let [series] = found.as_array().unwrap().as_slice() else { panic!("not one series: {found}") };
        series["exemplars"][0]["labels"]["trace_id"].as_str().unwrap().to_owned()
    }

    async fn one(&self, query: &str) -> Option<Json> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut found = self.ask(&format!("/api/v1/query?query={encoded}")).await["result"].take();
        let series = found.as_array_mut().unwrap();
        assert!(series.len() < 2, "{query} has several: {series:?}");
        series.pop()
    }

    async fn ask(&self, path: &str) -> Json {
        let answer = get(self.address, path, "application/json").await;
        let mut document: Json =
            serde_json::from_str(body(&answer)).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(document["status"], "success", "{path}: {document}");
        document["data"].take()
    }
}

/// A proxy in front of a target that asks for the text format, whatever the scraper prefers.
pub(crate) async fn only_text(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap() == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let answer = get(target, "/metrics", "text/plain;version=0.0.4").await;
                assert!(answer.contains("version=0.0.4"), "{answer}");
                // A scraper that gave up is no failure of the test.
                stream.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    address
}
