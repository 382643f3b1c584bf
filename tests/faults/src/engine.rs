//! The program as a process: started, looked at through its admin port and the kernel, killed, stopped, ended, and started again
//! with what it left behind.

pub mod figures;
pub mod group;
pub mod status;
pub mod tracer;
pub mod volume;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::status::Status;
use crate::producer::Target;

/// How long the program may take until it is ready, and one answer of its admin port.
const START: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);
/// How often a state is looked at.
pub const POLL: Duration = Duration::from_millis(10);
/// Lines of its log that an error tells.
const TOLD_LINES: usize = 20;

/// An engine, which may be down. It is killed when this is dropped.
pub struct Engine {
    /// What is run, before the engine's own arguments: the binary, or a program that runs it.
    command: Vec<OsString>,
    folder: TempDir,
    child: Option<Child>,
    admin: Option<SocketAddr>,
    targets: BTreeMap<String, watch::Sender<Option<SocketAddr>>>,
    starts: u32,
}

impl Engine {
    /// Starts an engine with this configuration and waits until it is ready. All of its listeners have port 0; `{folder}`
    /// stands for a folder that lives as long as this.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with the end of its log.
    pub async fn start(binary: &Path, configuration: &str) -> Result<Self> {
        let mut engine = Self::new(vec![binary.as_os_str().to_owned()], configuration)?;
        engine.start_again().await?;
        Ok(engine)
    }

    /// An engine that is not started yet. `command` is the binary, or a program that runs it with its arguments.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn new(command: Vec<OsString>, configuration: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("faults-")?;
        let engine = Self { command, folder, child: None, admin: None, targets: BTreeMap::new(), starts: 0 };
        engine.configure(configuration)?;
        Ok(engine)
    }

    /// Writes another configuration, for the next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        let text = configuration.replace("{folder}", &self.folder.path().display().to_string());
        Ok(std::fs::write(self.folder.path().join("engine.toml"), text)?)
    }

    /// Runs it by another command from the next start on.
    pub fn run_by(&mut self, command: Vec<OsString>) {
        self.command = command;
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a source listens, now and after each start.
    pub fn target(&mut self, source: &str) -> Target {
        self.targets.entry(source.to_owned()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// Starts it, and waits until it is ready. Says how long that took.
    ///
    /// # Errors
    /// When it runs already, ends, or is not ready in time, with the end of its log.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let (took, found) = self.start_unannounced().await?;
        self.announce(found);
        Ok(took)
    }

    /// Tells clients where its sources listen, which a start has found.
    pub fn announce(&mut self, found: BTreeMap<String, SocketAddr>) {
        for (id, address) in found {
            self.targets.entry(id).or_insert_with(|| watch::Sender::new(None)).send_replace(Some(address));
        }
    }

    /// Starts it, and waits until it is ready; no client knows where yet. Says how long that took, and where it listens.
    ///
    /// # Errors
    /// As [`Self::start_again`].
    pub async fn start_unannounced(&mut self) -> Result<(Duration, BTreeMap<String, SocketAddr>)> {
        ensure!(self.child.is_none(), "the engine runs already");
        let began = Instant::now();
        let addresses = self.folder.path().join("addresses");
        if addresses.exists() {
            std::fs::remove_file(&addresses)?;
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log_file())?;
        let (program, arguments) = self.command.split_first().context("a command has a program")?;
        self.child = Some(
            Command::new(program)
                .args(arguments)
                .args(["run", "--log-format", "json", "--config"])
                .arg(self.folder.path().join("engine.toml"))
                .arg("--address-file")
                .arg(&addresses)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))?,
        );
        self.starts += 1;
        loop {
            if let Some(status) = self.try_wait()? {
                bail!("the engine ended with {status} while it started: {}", self.log_end());
            }
            ensure!(began.elapsed() < START, "the engine is not ready after {START:?}: {}", self.log_end());
            let text = std::fs::read_to_string(&addresses).unwrap_or_default();
            let found: Option<BTreeMap<_, _>> = text.lines().map(listener).collect();
            if let Some(found) = found.filter(|found| found.contains_key("admin")) {
                self.admin = found.get("admin").copied();
                if self.readiness().await == Some(true) {
                    return Ok((began.elapsed(), found));
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if matches!(signal, Signal::KILL | Signal::TERM) {
            // Its port is anybody's once it is gone.
            self.forget_addresses();
        }
        let id = self.id().with_context(|| format!("the engine has ended: {}", self.log_end()))?;
        let id = Pid::from_raw(id.try_into()?).context("an id of a process is not 0")?;
        Ok(kill_process(id, signal)?)
    }

    /// Kills it without a word before, and waits until it is gone.
    ///
    /// # Errors
    /// When it has ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended(START).await?;
        Ok(())
    }

    /// Waits for its end; says how it ended and how long that took.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self, within: Duration) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        let child = self.child.as_mut().context("the engine is not started")?;
        let Ok(status) = timeout(within, child.wait()).await else {
            bail!("the engine has not ended after {within:?}: {}", self.log_end());
        };
        self.forget_addresses();
        (self.child, self.admin) = (None, None);
        Ok((status?, began.elapsed()))
    }

    /// Its process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Whether `/readyz` says yes; nothing when it does not answer.
    pub async fn readiness(&self) -> Option<bool> {
        self.get("/readyz").await.ok().map(|(code, _)| code == 200)
    }

    /// The `/status` document.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status> {
        let (_, body) = self.get("/status").await.with_context(|| format!("no status: {}", self.log_end()))?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// What has been logged, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn forget_addresses(&self) {
        for target in self.targets.values() {
            target.send_replace(None);
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n")
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { bail!("the engine is not started") };
        let ended = child.try_wait()?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    async fn get(&self, path: &str) -> Result<(u16, bytes::Bytes)> {
        let address = self.admin.context("the engine is down")?;
        let asked = async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            // An error of the connection is one of the request too.
            tokio::spawn(async move { drop(connection.await) });
            let request = http::Request::get(path).header("host", address.to_string());
            let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
            let code = response.status().as_u16();
            anyhow::Ok((code, response.into_body().collect().await?.to_bytes()))
        };
        timeout(ANSWER, asked).await.with_context(|| format!("{path} is not answered within {ANSWER:?}"))?
    }
}

/// The id and the address of a line of the address file.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let mut words = line.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// The engine of this build, which is beside this program or, for tests, in the folder above.
///
/// # Errors
/// When it is not built.
pub fn built() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("telemetry-engine")).find(|path| path.is_file());
    found
        .with_context(|| format!("no engine beside {}: build it with `cargo build -p telemetry-engine`", own.display()))
}
