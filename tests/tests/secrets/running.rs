//! What a running engine says: its log at the most verbose level, probes, metrics, status, and answers to clients, while
//! every peer refuses it and repeats what it was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canary::CANARY;
use crate::configuration::{Addresses, Configuration};
use crate::peers;
use crate::program::{Program, addresses, ask};

const LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;

/// Runs an engine until each sink has been refused, and returns everything that it said.
fn said_by_a_run(log_format: &str) {
    let met = Addresses { backend: peers::backend(), issuer: peers::issuer(), proxy: peers::proxy() };
    let configuration = Configuration::new(met);
    let file = configuration.folder().join("addresses");
    let (path, address_file) = (configuration.path().display().to_string(), file.display().to_string());
    let log = ["--log-level", "trace", "--log-format", log_format];
    let arguments = [&["run", "--config", &path, "--address-file", &address_file][..], &log].concat();
    let mut program = Program::start(&arguments);
    let listeners = program.eventually("the engine says where it listens", || addresses(&file));
    let address = |id: &str, key: &str| {
        let found = listeners.iter().find(|((listener, path), _)| listener == id && path.starts_with(key));
        *found.unwrap_or_else(|| panic!("{id} {key} in {listeners:?}")).1
    };
    let (admin, plain) = (address("admin", ""), address("plain", "http"));

    let json = "POST /v1/logs HTTP/1.1\r\ncontent-type: application/json";
    let sent = ask(plain, json, LOGS);
    assert!(sent.starts_with("HTTP/1.1 200"), "{sent}");
    // To a door that needs no password, with one that somebody meant for another door.
    let mut answers = vec![ask(plain, &format!("{json}\r\nauthorization: Bearer {CANARY}"), LOGS)];
    answers.push(ask(plain, &format!("{json}\r\ncontent-encoding: gzip\r\nauthorization: Bearer {CANARY}"), LOGS));
    answers.push(ask(plain, &format!("GET /{CANARY} HTTP/1.1"), "").replace(CANARY, "the path of the client itself"));
    // With the right ones, and with near misses, which are as secret.
    let guarded = address("guarded", "http");
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    for (credentials, status) in [
        (format!("Bearer token-{CANARY}"), "200"),
        (basic(format!("agent:password-{CANARY}")), "200"),
        (format!("Bearer token-{CANARY}x"), "401"),
        (format!("Digest {CANARY}"), "401"),
        (basic(format!("agent:{CANARY}")), "401"),
        (basic(format!("{CANARY}:password")), "401"),
        (basic(CANARY.to_owned()), "401"),
    ] {
        let answer = ask(guarded, &format!("{json}\r\nauthorization: {credentials}"), LOGS);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{credentials}: {answer}");
        answers.push(answer);
    }
    for listener in ["grpc", "http"] {
        // In clear to a port with TLS.
        answers.push(ask(address("secure", listener), &format!("{json}\r\nauthorization: Bearer {CANARY}"), LOGS));
    }

    for sink in ["basic", "bearer", "issued", "issued_in_body", "encrypted", "proxied"] {
        program.eventually(&format!("{sink} was refused"), || {
            let metrics = ask(admin, "GET /metrics HTTP/1.1", "");
            let refused = metrics.lines().any(|line| {
                let is_errors = line.starts_with("telemetry_engine_component_errors_total{");
                is_errors && line.contains(&format!("\"{sink}\"")) && !line.ends_with(" 0")
            });
            refused.then_some(())
        });
    }
    // The engine's own metrics and log, as data.
    let kept = configuration.folder().join("own.jsonl");
    let own = || std::fs::read_to_string(&kept).unwrap_or_default();
    program.eventually("the own log is kept", || {
        let own = own();
        (own.contains("invalid_client") && own.contains("errors")).then_some(())
    });
    let status = address("status", "listen");
    for path in ["/status", "/metrics", "/readyz", "/livez", "/"] {
        answers.push(ask(admin, &format!("GET {path} HTTP/1.1"), ""));
        for token in [format!("directory-token-{CANARY}"), CANARY.to_owned()] {
            answers.push(ask(status, &format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {token}"), ""));
        }
    }
    program.terminate();
    program.ended();

    let log = program.output();
    for expected in ["401", "invalid_client", "[redacted]"] {
        assert!(log.contains(expected), "the log tells of refusals: {expected}\n{log}");
    }
    configuration.canary.is_not_in("what is kept of the own log", &own());
    configuration.canary.is_not_in("answers", &answers.join("\n"));
    configuration.canary.is_not_in("the log", &log);
}

/// The log as text.
#[test]
fn text_logs_hold_no_secret() {
    said_by_a_run("text");
}

/// The log as JSON.
#[test]
fn json_logs_hold_no_secret() {
    said_by_a_run("json");
}
