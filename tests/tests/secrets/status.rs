//! The listener of a running engine for an operator: who learns what, and that a token is changed without a restart.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use engine_config::status::Status;

use crate::program::{Program, addresses, ask};

/// An engine with both listeners, and where it listens.
struct Engine {
    folder: tempfile::TempDir,
    program: Program,
    listeners: BTreeMap<(String, String), SocketAddr>,
}

impl Engine {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (configuration, file) = (folder.path().join("engine.toml"), folder.path().join("addresses"));
        fs::write(folder.path().join("token"), "first\n").unwrap();
        let text = TEMPLATE.replace("SETTINGS", settings).replace("FOLDER", folder.path().to_str().unwrap());
        fs::write(&configuration, text).unwrap();
        let (path, address_file) = (configuration.display().to_string(), file.display().to_string());
        let mut program = Program::start(&["run", "--config", &path, "--address-file", &address_file]);
        let listeners = program.eventually("the engine says where it listens", || addresses(&file));
        Self { folder, program, listeners }
    }

    fn address(&self, id: &str) -> SocketAddr {
        self.listeners[&(id.to_owned(), "listen".to_owned())]
    }

    fn token(&self) -> std::path::PathBuf {
        self.folder.path().join("token")
    }
}

fn get(address: SocketAddr, path: &str, token: Option<&str>) -> String {
    let credentials = token.map(|token| format!("\r\nauthorization: Bearer {token}")).unwrap_or_default();
    ask(address, &format!("GET {path} HTTP/1.1{credentials}"), "")
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

fn document(answer: &str) -> Status {
    assert!(is(answer, 200), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The operator's token opens `/status` and `/metrics`, which tell of both listeners; the kubelet needs none for the probes;
/// nobody changes anything; the local listener is as it was.
#[test]
fn an_operator_reads_and_the_kubelet_probes() {
    let mut engine = Engine::start("[status]\nlisten = \"[::]:0\"\ntoken = \"file:FOLDER/token\"");
    let port = engine.address("status").port();
    for status in [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))] {
        engine.program.eventually("the engine is ready", || is(&get(status, "/readyz", None), 200).then_some(()));
        assert!(is(&get(status, "/livez", None), 200));
        for path in ["/status", "/metrics"] {
            assert!(is(&get(status, path, Some("first")), 200), "{path}");
            for wrong in [None, Some("second"), Some("")] {
                let answer = get(status, path, wrong);
                assert!(is(&answer, 401) && answer.contains("www-authenticate: Bearer"), "{path} {wrong:?}: {answer}");
            }
            let posted = ask(status, &format!("POST {path} HTTP/1.1\r\nauthorization: Bearer first"), "{}");
            assert!(is(&posted, 405), "{posted}");
        }
        let told = document(&get(status, "/status", Some("first")));
        let listeners: Vec<_> = told.listeners.iter().map(|found| (found.component.as_str(), found.address)).collect();
        assert_eq!(listeners[..2], [("admin", engine.address("admin")), ("status", engine.address("status"))]);
    }
    assert!(document(&get(engine.address("admin"), "/status", None)).ready);
    engine.program.terminate();
    assert!(engine.program.ended().success());
}

/// A token that was replaced in its file is good with the first request that shows it, and the old one is not any more. While
/// both lines are there, both are.
#[test]
fn a_token_is_rotated() {
    let mut engine = Engine::start("[status]\nlisten = \"127.0.0.1:0\"\ntoken = \"file:FOLDER/token\"");
    let status = engine.address("status");
    assert!(is(&get(status, "/status", Some("first")), 200));
    for (held, token) in [("first\nsecond\n", "second"), ("second\n", "second"), ("third\n", "third")] {
        replace(&engine.token(), held);
        // Files are looked at once a second at most, and a token that is known needs no look.
        engine.program.eventually(token, || is(&get(status, "/status", Some(token)), 200).then_some(()));
    }
    for old in ["first", "second"] {
        assert!(is(&get(status, "/status", Some(old)), 401), "{old}");
    }
    engine.program.terminate();
    assert!(engine.program.ended().success());
}

/// Without the table there is no second listener.
#[test]
fn nobody_listens_unless_it_is_asked_for() {
    let mut engine = Engine::start("");
    assert!(!engine.listeners.keys().any(|(id, _)| id == "status"), "{:?}", engine.listeners);
    engine.program.terminate();
    assert!(engine.program.ended().success());
}

/// A token without anything in it stops the start, and is named.
#[test]
fn a_start_needs_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("engine.toml");
    fs::write(folder.path().join("token"), "").unwrap();
    let settings = "[status]\nlisten = \"127.0.0.1:0\"\ntoken = \"file:FOLDER/token\"";
    let text = TEMPLATE.replace("SETTINGS", settings).replace("FOLDER", folder.path().to_str().unwrap());
    fs::write(&configuration, text).unwrap();
    let mut program = Program::start(&["run", "--config", configuration.to_str().unwrap()]);
    assert!(!program.ended().success());
    assert!(program.output().contains("/token` cannot be read: the file is empty"), "{}", program.output());
}

/// As a mounted Secret is replaced: at once, or not at all.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}

const TEMPLATE: &str = r#"version = 1
admin.listen = "127.0.0.1:0"

SETTINGS

[sources.made]
type = "generate"

[sinks.gone]
type = "blackhole"
inputs = ["made"]
"#;
