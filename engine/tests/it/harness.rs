//! Command lines inside this process, and engines as processes that are waited for by what they log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use engine::cli::{Color, Streams, run_from};
use engine_config::status::Status;
use tempfile::TempDir;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory with files that commands read.
#[derive(Debug)]
pub(crate) struct Files(TempDir);

/// A running engine. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    log: BufReader<ChildStderr>,
    addresses: BTreeMap<String, SocketAddr>,
    /// Its configuration is `engine.toml`.
    pub(crate) files: Files,
}

/// Runs a command line inside this process, with these variables.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams { stdout: &mut stdout, stderr: &mut stderr, color: Color::Never };
    let arguments = std::iter::once("telemetry-engine").chain(arguments.iter().copied()).map(Into::into);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let code = run_from(arguments, variables, || (), &mut streams);
    Said { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

impl Files {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Replaces a file as a whole.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let unfinished = self.0.path().join(".unfinished");
        std::fs::write(&unfinished, text).unwrap();
        std::fs::rename(&unfinished, self.0.path().join(name)).unwrap();
    }

    /// A text without the directory's name, which is another one in every run.
    pub(crate) fn without_directory(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

impl Engine {
    /// Starts a configuration and waits until everything runs.
    pub(crate) fn start(config: &str) -> Self {
        let files = Files::new(&[("engine.toml", config)]);
        let path = files.path("engine.toml");
        Self::start_with(files, &["--config", &path])
    }

    /// The same with these files and arguments.
    pub(crate) fn start_with(files: Files, arguments: &[&str]) -> Self {
        let all = [&["run", "--log-format", "json"], arguments].concat();
        let mut child = program(&all).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut engine = Self { child, log, addresses: BTreeMap::new(), files };
        loop {
            let line = engine.line().expect("the engine ended before it ran");
            match line["fields"]["message"].as_str().unwrap() {
                "listening" => {
                    let field = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
                    engine.addresses.insert(field("component"), field("address").parse().unwrap());
                }
                "running" => return engine,
                _ => {}
            }
        }
    }

    /// Waits for a log line with this message.
    pub(crate) fn wait_for(&mut self, message: &str) -> serde_json::Value {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("the engine ended and never said `{message}`"));
            if line["fields"]["message"] == message {
                return line;
            }
        }
    }

    /// Status code and body of a path of the administration server.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let address = self.addresses["admin"];
        let (head, body) = request(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}"), "");
        (code(&head), body)
    }

    /// Head and body of the answer to a raw request.
    pub(crate) fn ask(&self, head: &str) -> (String, String) {
        request(self.addresses["admin"], head, "")
    }

    /// Sends JSON to a component: code and body of the answer.
    pub(crate) fn post(&self, component: &str, path: &str, json: &str) -> (u16, String) {
        let (address, length) = (self.addresses[component], json.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}"
        );
        let (answer, body) = request(address, &head, json);
        (code(&answer), body)
    }

    /// Status code and body of `POST /reload`.
    pub(crate) fn reload(&self) -> (u16, String) {
        let address = self.addresses["admin"];
        let (head, body) = request(address, &format!("POST /reload HTTP/1.1\r\nhost: {address}"), "");
        (code(&head), body)
    }

    /// What the engine says of itself.
    pub(crate) fn status(&self) -> Status {
        serde_json::from_str(&self.get("/status").1).unwrap()
    }

    pub(crate) fn address(&self, component: &str) -> SocketAddr {
        self.addresses[component]
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end: the exit code and the messages that were logged until then.
    pub(crate) fn end(mut self) -> (i32, Vec<String>) {
        let mut messages = Vec::new();
        while let Some(line) = self.line() {
            messages.push(line["fields"]["message"].as_str().unwrap().to_owned());
        }
        (self.child.wait().unwrap().code().unwrap(), messages)
    }

    fn line(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        if line.is_empty() {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary with its output caught.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_telemetry-engine")));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn request(address: SocketAddr, head: &str, content: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\nconnection: close\r\n\r\n{content}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The status code of an answer's head.
fn code(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
