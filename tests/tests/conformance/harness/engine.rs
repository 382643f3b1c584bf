//! The program as a process: started from a configuration, looked at through its admin port, ended by signals.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use engine_config::status::{Component, Ledger, Status};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::process::{Child, Command};

use super::{eventually, within};

/// Another program to test than the one of this build, in the environment.
const ENGINE: &str = "TESTS_ENGINE";

/// A running engine. It is killed when dropped.
pub(crate) struct Engine {
    child: Child,
    /// By component and key, such as `apps grpc.listen`.
    addresses: BTreeMap<String, SocketAddr>,
    folder: tempfile::TempDir,
}

impl Engine {
    /// Starts the engine with this configuration, to which the version and the admin port are added.
    pub(crate) async fn start(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), text).await
    }

    /// The same, in a folder that lives as long as the engine.
    pub(crate) async fn start_in(folder: tempfile::TempDir, text: &str) -> Self {
        let config = folder.path().join("engine.toml");
        std::fs::write(&config, format!("version = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n{text}")).unwrap();
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
            let text = std::fs::read_to_string(&addresses).ok();
            std::future::ready(text.map(|text| text.lines().map(listener).collect()))
        })
        .await;
        engine
    }

    /// Where the source `apps` takes gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.addresses["apps grpc.listen"]
    }

    /// Where the source `apps` takes HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.addresses["apps http.listen"]
    }

    /// The folder of the configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `/status` document.
    pub(crate) async fn status(&self) -> Status {
        let body = self.get("/status").await;
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
    }

    /// What `/status` says of one component.
    pub(crate) async fn component(&self, id: &str) -> Component {
        let status = self.status().await;
        status.components.into_iter().find(|component| component.id.as_str() == id).unwrap()
    }

    /// The ledger of a sink, which must balance.
    pub(crate) async fn ledger(&self, sink: &str) -> Ledger {
        let ledger = self.component(sink).await.sink.unwrap().ledger;
        assert!(ledger.balanced, "{ledger:?}");
        ledger
    }

    /// The ledger of a sink once nothing is queued or under way.
    pub(crate) async fn settled(&self, sink: &str) -> Ledger {
        eventually("the sink is at rest", || async {
            let ledger = self.ledger(sink).await;
            (ledger.held.queued + ledger.held.in_flight == 0).then_some(ledger)
        })
        .await
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

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the engine ends", self.child.wait()).await.unwrap()
    }

    /// What it has logged so far, a JSON object a line.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn get(&self, path: &str) -> bytes::Bytes {
        let address = self.addresses["admin listen"];
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", address.to_string());
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let response = within("the admin server answers", sender.send_request(request)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        driver.await.unwrap().unwrap();
        body
    }
}

/// A line of the address file: component, address, key.
fn listener(line: &str) -> (String, SocketAddr) {
    let words: Vec<_> = line.split(' ').collect();
    let [component, address, key] = words[..] else { panic!("cannot read `{line}` of the address file") };
    (format!("{component} {key}"), address.parse().unwrap())
}

/// The program that the environment names, in the words of [`ENGINE`], or the one of this build; cargo puts test binaries
/// into a folder beside it.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(ENGINE) {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(|deps| deps.parent()).unwrap().join("telemetry-engine");
    assert!(binary.is_file(), "{} is not there: build it with `cargo build -p telemetry-engine`", binary.display());
    binary
}
