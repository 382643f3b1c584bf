//! Engines as processes: start, answers, signals, ends.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use engine_config::status::{Phase, Status};
use rustix::process::Signal;

use crate::harness::{Engine, Files, program};

const ENDLESS: &str = r#"version = 1
[admin]
listen = "127.0.0.1:0"
[sources.made]
type = "generate"
rate = 1000
[sources.apps]
type = "otlp"
grpc.listen = "127.0.0.1:0"
[sinks.gone]
type = "blackhole"
inputs = ["made", "apps"]
pipeline = "shop"
"#;

/// When all sources have come to their end, the engine delivers what it holds and ends well.
#[test]
fn ends_with_its_sources() {
    let config = r#"version = 1
[admin]
listen = "127.0.0.1:0"
[sources.made]
type = "generate"
count = 5000
[sinks.gone]
type = "blackhole"
inputs = ["made"]
"#;
    let (code, messages) = Engine::start(config).end();
    assert_eq!(code, 0, "{messages:?}");
    assert_eq!(messages.last().unwrap(), "drained");
}

/// SIGTERM drains and ends well.
#[test]
fn a_signal_drains() {
    let engine = Engine::start(ENDLESS);
    engine.signal(Signal::TERM);
    let (code, messages) = engine.end();
    assert_eq!((code, messages.last().map(String::as_str)), (0, Some("drained")), "{messages:?}");
}

/// After the first signal the engine is not ready any more and goes on; the second one ends it with the signal's code.
#[test]
fn readiness_turns_first_and_a_second_signal_ends() {
    let delayed = format!("{ENDLESS}\n[shutdown]\ndelay = \"10m\"\n");
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut engine = Engine::start(&delayed);
        assert_eq!(engine.get("/readyz"), (200, "ready\n".to_owned()));
        engine.signal(Signal::TERM);
        engine.wait_for("not ready any more, still admitting");
        assert_eq!(engine.get("/readyz"), (503, "draining\n".to_owned()));
        assert_eq!(engine.get("/livez").0, 200);
        TcpStream::connect(engine.address("apps")).expect("data is still admitted");
        engine.signal(second);
        assert_eq!(engine.end().0, code);
    }
}

/// Whoever keeps a connection is told with an answer to connect anew, while data is still admitted: at the end nobody finds it
/// closed with a request on its way.
#[test]
fn clients_are_sent_elsewhere_before_the_end() {
    let config = format!("{ENDLESS}\n[shutdown]\ndelay = \"10m\"\n").replace("grpc.listen", "http.listen");
    let mut engine = Engine::start(&config);
    let mut kept = TcpStream::connect(engine.address("apps")).unwrap();
    engine.signal(Signal::TERM);
    engine.wait_for("clients are told to connect anew");
    let request =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    kept.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    engine.signal(Signal::TERM);
    engine.end();
}

/// Records that were answered with success and cannot be delivered in time make the end unclean, with their number.
#[test]
fn lost_records_make_the_end_unclean() {
    let config = r#"version = 1
[admin]
listen = "127.0.0.1:0"
[shutdown]
grace = "1ms"
[sources.made]
type = "generate"
count = 300
[sinks.backend]
type = "otlp"
inputs = ["made"]
endpoint = "http://127.0.0.1:1"
"#;
    let mut engine = Engine::start(config);
    let line = engine.wait_for("not a clean end");
    assert_eq!(line["fields"]["dropped_records"], 300);
    assert_eq!(engine.end().0, 3);
}

/// The administration server tells what runs: a document of the operator's type, and metrics in the text format.
#[test]
fn tells_what_runs() {
    let engine = Engine::start(ENDLESS);
    let (code, text) = engine.get("/status");
    let status: Status = serde_json::from_str(&text).unwrap();
    assert_eq!((code, status.phase, status.ready), (200, Phase::Running, true));
    let listeners: Vec<_> =
        status.listeners.iter().map(|listener| (listener.component.as_str(), listener.address)).collect();
    assert_eq!(listeners, [("admin", engine.address("admin")), ("apps", engine.address("apps"))]);
    let sink = status.components.iter().find(|component| component.id.as_str() == "gone").unwrap();
    assert_eq!((sink.type_name.as_str(), sink.pipeline.as_deref()), ("blackhole", Some("shop")));
    assert!(sink.sink.as_ref().unwrap().ledger.balanced);

    let (code, text) = engine.get("/metrics");
    assert_eq!(code, 200);
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        names.extend(sample(line));
    }
    for name in [
        "telemetry_engine_build_info",
        "telemetry_engine_ready",
        "telemetry_engine_sink_accepted_records_total",
        "telemetry_engine_sink_ledger_balanced",
        "telemetry_engine_component_network_bytes_total",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
}

/// Prometheus sees every series before it counts for the first time: what happens later adds none.
#[test]
fn series_are_there_from_the_start() {
    let mut engine = Engine::start(
        r#"version = 1
[admin]
listen = "127.0.0.1:0"
[shutdown]
grace = "1ms"
[sources.apps]
type = "otlp"
http.listen = "127.0.0.1:0"
[transforms.shop]
type = "select"
inputs = ["apps"]
drop = { "service.name" = ["nobody"] }
[sinks.gone]
type = "blackhole"
inputs = ["shop"]
[sinks.backend]
type = "otlp"
inputs = ["apps"]
signals = ["logs"]
endpoint = "http://127.0.0.1:1"
"#,
    );
    let quiet = series(&engine);
    let counted = |metric: &str, labels: &[&str]| {
        let is_meant = |name: &str| name.starts_with(metric) && labels.iter().all(|label| name.contains(label));
        quiet.iter().find(|(name, _)| is_meant(name)).map(|(_, value)| value.as_str())
    };
    for (metric, labels) in [
        ("telemetry_engine_component_received_records_total", ["\"shop\"", "signal=\"traces\""]),
        ("telemetry_engine_component_sent_bytes_total", ["\"apps\"", "output=\"default\",signal=\"logs\""]),
        ("telemetry_engine_component_discarded_records_total", ["\"shop\"", "reason=\"unselected\""]),
        ("telemetry_engine_component_errors_total", ["\"backend\"", "kind=\"retry\""]),
        ("telemetry_engine_sink_dropped_records_total", ["\"backend\"", "reason=\"full\""]),
    ] {
        assert_eq!(counted(metric, &labels), Some("0"), "{metric} {labels:?}");
    }
    let narrowed = counted("telemetry_engine_component_received_records_total", &["\"backend\"", "signal=\"traces\""]);
    assert_eq!(narrowed, None, "a signal that never comes");

    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    assert_eq!(engine.post("apps", "/v1/logs", logs).0, 200);
    engine.wait_for("the backend does not take data, trying again until it does");
    let later = series(&engine);
    assert_eq!(later.keys().collect::<Vec<_>>(), quiet.keys().collect::<Vec<_>>());
    let grown = later.values().zip(quiet.values()).filter(|(later, quiet)| later != quiet).count();
    assert!(grown > 10, "only {grown} series have changed");
}

/// Names in snake_case are ignored, as the specification wants; the sender, the log and the metrics say so.
#[test]
fn snake_case_in_json_is_told() {
    let mut engine = Engine::start(&ENDLESS.replace("grpc.listen", "http.listen"));
    let (code, body) = engine.post("apps", "/v1/traces", r#"{"resource_spans":[{"scope_spans":[]}]}"#);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let warning = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(code == 200 && warning.contains("`resource_spans`"), "{code} {body}");
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "0");
    let line = engine.wait_for("keys of a JSON request are ignored: OTLP/JSON has names in lowerCamelCase");
    assert_eq!(line["fields"]["first"], "resource_spans");
    let counted = series(&engine);
    let (_, errors) = counted.iter().find(|(name, _)| name.contains("kind=\"snake_case_keys\"")).unwrap();
    assert_eq!(errors, "1");
    assert_eq!(engine.post("apps", "/v1/traces", r#"{"resourceSpans":[]}"#), (200, "{}".to_owned()));
}

/// Whatever clients send, no part of it becomes a series: labels come from the configuration and from fixed sets.
#[test]
fn clients_add_no_series() {
    let engine = Engine::start(&ENDLESS.replace("grpc.listen", "http.listen"));
    let quiet = series(&engine);
    let address = engine.address("apps");
    for number in 0..50 {
        let head = format!(
            "POST /v1/logs?label={number} HTTP/1.1\r\nhost: h{number}\r\nuser-agent: agent-{number}\r\n\
             content-type: type/{number}\r\ncontent-encoding: coding-{number}\r\ncontent-length: 0"
        );
        let odd =
            [head.clone(), head.replace("/v1/logs", &format!("/v{number}/logs")), format!("M{number} / HTTP/1.1")];
        for head in odd {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        }
        let json = format!(r#"{{"resourceLogs":[{{"key-{number}":1}}],"resource_logs_{number}":[]}}"#);
        assert_eq!(engine.post("apps", "/v1/logs", &json).0, 200);
    }
    assert_eq!(series(&engine).keys().collect::<Vec<_>>(), quiet.keys().collect::<Vec<_>>());
}

/// The counters of components and their values, as a scrape shows them.
fn series(engine: &Engine) -> BTreeMap<String, String> {
    let (_, text) = engine.get("/metrics");
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let counters = samples.filter(|(name, _)| name.contains("_total{") && name.contains("component_id"));
    counters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The name of a sample; `None` for a comment. Fails on every other line.
fn sample(line: &str) -> Option<&str> {
    if let Some(comment) = line.strip_prefix("# ") {
        let mut words = comment.split(' ');
        assert!(matches!(words.next(), Some("HELP" | "TYPE")), "{line}");
        let name = words.next().unwrap();
        let is_counter = line.ends_with(" counter");
        assert!(!line.starts_with("# TYPE") || is_counter == name.ends_with("_total"), "{line}");
        return None;
    }
    let (series, value) = line.rsplit_once(' ').unwrap();
    value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else { return Some(series) };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    for label in labels.split("\",") {
        let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(key.chars().all(|character| character.is_ascii_lowercase() || character == '_'), "{line}");
        assert!(!value.trim_end_matches('"').contains('"'), "{line}");
    }
    Some(name)
}

/// HEAD is answered without a body, and a page that points its name here learns nothing.
#[test]
fn answers_heads_and_refuses_foreign_names() {
    let engine = Engine::start(ENDLESS);
    let (head, body) = engine.ask("HEAD /status HTTP/1.1\r\nhost: localhost");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json"), "{head}");
    assert_eq!(body, "");
    let (head, body) = engine.ask("GET /status HTTP/1.1\r\nhost: rebound.example");
    assert!(head.starts_with("HTTP/1.1 403") && !body.contains("made"), "{head} {body}");
}

/// All addresses that are not to be had are named at once, the administration server's among them.
#[test]
fn all_taken_addresses_at_once() {
    let taken: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [admin, apps] = [0, 1].map(|index| taken[index].local_addr().unwrap());
    let config = format!(
        r#"version = 1
[admin]
listen = "{admin}"
[sources.apps]
type = "otlp"
grpc.listen = "{apps}"
[sinks.gone]
type = "blackhole"
inputs = ["apps"]
"#
    );
    let files = Files::new(&[("engine.toml", &config)]);
    let output = program(&["run", "--config", &files.path("engine.toml")]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&format!("admin: cannot listen on {admin}")), "{text}");
    assert!(text.contains(&format!("apps: cannot listen on {apps}")), "{text}");
}

/// The file of addresses names every listener, for scripts that let the system choose ports.
#[test]
fn writes_the_addresses() {
    let listeners = "grpc.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\n";
    let config = ENDLESS.replace("grpc.listen = \"127.0.0.1:0\"\n", listeners);
    let files = Files::new(&[("engine.toml", &config)]);
    let (path, addresses) = (files.path("engine.toml"), files.path("addresses"));
    let mut child = program(&["run", "--config", &path, "--address-file", &addresses]).spawn().unwrap();
    let text = loop {
        // Complete or not there at all.
        if let Ok(text) = std::fs::read_to_string(&addresses) {
            break text;
        }
        assert!(child.try_wait().unwrap().is_none(), "the engine ended");
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let named: Vec<_> = lines.iter().map(|line| (line[0], line[2])).collect();
    assert_eq!(named, [("admin", "listen"), ("apps", "grpc.listen"), ("apps", "http.listen")]);
    let ports: HashSet<u16> = lines.iter().map(|line| line[1].parse::<SocketAddr>().unwrap().port()).collect();
    assert!(ports.len() == 3 && !ports.contains(&0), "{text}");
}

/// A reader that goes away is no reason to panic, and pipes get no colours.
#[test]
fn a_closed_pipe_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = program(&["schema"]).stdout(writer).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((child.wait().unwrap().code(), text.as_str()), (Some(0), ""));

    let files = Files::new(&[("engine.toml", "version = 2\n")]);
    let output = program(&["run", "--config", &files.path("engine.toml")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.contains(&0x1b) && !output.stderr.is_empty());
}
