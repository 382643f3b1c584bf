//! The program as a process, and command lines inside this one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use engine::cli::{Color, Streams, run_from};

use crate::configuration::Configuration;

/// Bound of every wait, so that a test that would hang says what it waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command said, and its exit code.
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) output: String,
}

/// A process whose output is read as it comes. It is killed when dropped.
pub(crate) struct Program {
    child: Child,
    said: Vec<u8>,
    says: Receiver<Vec<u8>>,
}

/// Runs a command line inside this process, for many of them, with the variables that the configuration needs.
pub(crate) fn command(arguments: &[&str]) -> Said {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams { stdout: &mut stdout, stderr: &mut stderr, color: Color::Never };
    let arguments = std::iter::once("telemetry-engine").chain(arguments.iter().copied()).map(Into::into);
    let code = run_from(arguments, Configuration::variables(), || (), &mut streams);
    let output = [stdout, stderr].concat();
    Said { code, output: String::from_utf8(output).unwrap() }
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments).envs(Configuration::variables()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, says) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, said: Vec::new(), says }
    }

    /// Everything that it said so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits for more output, at most for `patience`; `false` once there will be none.
    fn listen(&mut self, patience: Duration) -> bool {
        match self.says.recv_timeout(patience) {
            Ok(more) => self.said.extend(more),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Waits until `look` finds something.
    pub(crate) fn eventually<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(self.listen(Duration::from_millis(20)), "{what}: it ended:\n{}", self.output());
            assert!(Instant::now() < deadline, "waited for {PATIENCE:?}: {what}\n{}", self.output());
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.wait_for(&[]);
        self.child.wait().unwrap()
    }

    /// Waits until it has said this, or has ended. Whether it has said it.
    pub(crate) fn says(&mut self, text: &str) -> bool {
        self.wait_for(text.as_bytes())
    }

    fn wait_for(&mut self, text: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut searched = 0;
        while self.listen(PATIENCE) {
            if !text.is_empty() && self.said[searched..].windows(text.len()).any(|window| window == text) {
                return true;
            }
            searched = self.said.len().saturating_sub(text.len());
            assert!(Instant::now() < deadline, "waited for {PATIENCE:?}\n{}", self.output());
        }
        false
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends what comes until there is no more.
fn forward(mut from: impl Read + Send + 'static, to: Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if to.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
}

/// The sockets in an address file, by component and key; `None` until it is written.
pub(crate) fn addresses(file: &Path) -> Option<BTreeMap<(String, String), SocketAddr>> {
    let text = fs::read_to_string(file).ok()?;
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (id, address) = (words.next()?, words.next()?);
        Some(((id, words.next().unwrap_or_default()), address.parse().ok()?))
    };
    text.lines().map(line).collect()
}

/// The whole answer to a request that ends its connection.
pub(crate) fn ask(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!("{head}\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The program of this build; cargo puts test binaries into a folder beside it.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(|deps| deps.parent()).unwrap().join("telemetry-engine");
    assert!(binary.is_file(), "{} is not there: build it with `cargo build -p telemetry-engine`", binary.display());
    binary
}
