//! The program as a process: started from a configuration, looked at through its admin port, ended by signals.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use engine_config::status::Status;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::process::{Child, Command};

use crate::{eventually, within};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const SOURCE: &str = "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n";

/// A running engine with an `otlp` source named `apps`.
pub(crate) struct Engine {
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
    folder: tempfile::TempDir,
}

/// How an engine ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Records that its log calls lost by shutdown.
    pub(crate) lost: u64,
}

impl Engine {
    /// Starts the engine with a gRPC source `apps` on a free port and the rest of the configuration as given.
    pub(crate) async fn start(rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_with(folder, &format!("version = 1\n{ADMIN}{SOURCE}{rest}")).await
    }

    /// Starts the engine with this configuration, in a folder that lives as long as it.
    pub(crate) async fn start_with(folder: tempfile::TempDir, text: &str) -> Self {
        let config = folder.path().join("engine.toml");
        std::fs::write(&config, text).unwrap();
        let addresses = folder.path().join("addresses");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(binary())
            .args(["run", "--log-format", "json", "--config"])
            .arg(&config)
            .arg("--address-file")
            .arg(&addresses)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut engine = Self { child, addresses: BTreeMap::new(), folder };
        engine.addresses = eventually("the engine says where it listens", || {
            assert!(engine.child.try_wait().unwrap().is_none(), "the engine ended:\n{}", engine.log());
            let text = std::fs::read_to_string(&addresses).unwrap_or_default();
            let found: Option<BTreeMap<_, _>> = text.lines().map(listener).collect();
            std::future::ready(found.filter(|found| found.contains_key("apps")))
        })
        .await;
        engine
    }

    /// Where the source `apps` listens.
    pub(crate) fn apps(&self) -> SocketAddr {
        self.addresses["apps"]
    }

    /// The `/status` document.
    pub(crate) async fn status(&self) -> Status {
        let (_, body) = self.ask(hyper::Method::GET, "/status").await;
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
    }

    async fn ask(&self, method: hyper::Method, path: &str) -> (hyper::StatusCode, bytes::Bytes) {
        let address = self.addresses["admin"];
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::builder().method(method).uri(path).header("host", address.to_string());
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        driver.await.unwrap().unwrap();
        (status, body)
    }

    /// The ledger of the sink with this id, which must balance.
    pub(crate) async fn ledger(&self, sink: &str) -> engine_config::status::Ledger {
        let status = self.status().await;
        let component = status.components.into_iter().find(|component| component.id.as_str() == sink);
        let ledger = component.unwrap().sink.unwrap().ledger;
        assert!(ledger.balanced, "{ledger:?}");
        ledger
    }

    /// Replaces all but the source and has it read again; says why not, if it is refused.
    pub(crate) async fn reload(&self, rest: &str) -> Result<(), String> {
        let text = format!("version = 1\n{ADMIN}{SOURCE}{rest}");
        std::fs::write(self.folder.path().join("engine.toml"), text).unwrap();
        let (status, body) = self.ask(hyper::Method::POST, "/reload").await;
        if status.is_success() { Ok(()) } else { Err(String::from_utf8_lossy(&body).into_owned()) }
    }

    /// The highest resident memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Kills it, without a word before.
    pub(crate) async fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the engine ended:\n{}", self.log());
        self.child.kill().await.unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = within("the engine ends", self.child.wait()).await.unwrap();
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("lost by shutdown"));
        let lost = lines.map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let records = entry.get("records").or_else(|| entry.get("fields").and_then(|fields| fields.get("records")));
            records.and_then(serde_json::Value::as_u64).unwrap()
        });
        Ended { status, lost: lost.sum() }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The id and the address of a line of the address file.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let mut words = line.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

fn binary() -> PathBuf {
    program("telemetry-engine", "telemetry-engine")
}

/// A program of this build; cargo puts test binaries into a folder beside it.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(|deps| deps.parent()).unwrap().join(name);
    assert!(binary.is_file(), "{} is not there: build it with `cargo build -p {package}`", binary.display());
    binary
}
