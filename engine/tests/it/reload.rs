//! Engines that take another configuration while they run, or the last good one when they start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;

use engine_config::SourceFile;
use engine_config::status::{ReloadResult, config_hash};
use rustix::process::Signal;

use crate::harness::{Engine, Files, program};

const LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;

/// A source on an address that the system chooses, and a sink with this key.
fn config(more: &str) -> String {
    format!(
        "version = 1\nadmin.listen = \"127.0.0.1:0\"\n[sources.apps]\ntype = \"otlp\"\nhttp.listen = \"127.0.0.1:0\"\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"apps\"]\n{more}"
    )
}

fn hash(text: &str) -> String {
    config_hash(&[SourceFile::new("engine.toml", text)])
}

/// A connection that stays open between requests.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(engine: &Engine) -> Self {
        Self(BufReader::new(TcpStream::connect(engine.address("apps")).unwrap()))
    }

    /// Sends a part of a request.
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The head of a request with this content.
    fn head(length: usize) -> String {
        format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    /// The head of the answer.
    fn answer(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "closed after `{head}`");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        self.0.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        lower
    }
}

fn sink_kinds(engine: &Engine) -> Vec<(String, String)> {
    let components = engine.status().components.into_iter();
    components.filter(|one| one.sink.is_some()).map(|one| (one.id.to_string(), one.type_name)).collect()
}

/// SIGHUP exchanges a sink; the connection of a client goes on, with the request that is under way, and the source's counts
/// go on too.
#[test]
fn a_signal_exchanges_a_sink_and_connections_stay() {
    let mut engine = Engine::start(&config(""));
    let mut connection = Connection::to(&engine);
    connection.send(&(Connection::head(LOGS.len()) + LOGS));
    assert!(connection.answer().starts_with("http/1.1 200"));
    connection.send(&Connection::head(LOGS.len()));
    connection.send(&LOGS[..20]);
    let other = config("").replace("\"blackhole\"", "\"console\"");
    engine.files.replace("engine.toml", &other);
    engine.signal(Signal::HUP);
    let line = engine.wait_for("another configuration runs");
    assert_eq!((&line["fields"]["trigger"], &line["fields"]["replaced"]), (&"SIGHUP".into(), &"out".into()));
    connection.send(&LOGS[20..]);
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 200") && !answer.contains("connection: close"), "{answer}");
    let status = engine.status();
    assert_eq!(status.config_hash, hash(&other));
    assert_eq!(sink_kinds(&engine), [("out".to_owned(), "console".to_owned())]);
    let source = status.components.iter().find(|component| component.id.as_str() == "apps").unwrap();
    assert_eq!((source.sent["default"]["logs"].records, source.own["connections_opened"]), (2, 1));
}
