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

/// `POST /reload` answers with the hash that runs, or with drawings of what is wrong; a page cannot ask for it.
#[test]
fn a_request_is_answered_by_what_became_of_it() {
    let engine = Engine::start(&config(""));
    assert_eq!(engine.reload(), (200, format!("{}\n", hash(&config("")))), "unchanged");
    let other = config("pipeline = \"shop\"\n");
    engine.files.replace("engine.toml", &other);
    assert_eq!(engine.reload(), (200, format!("{}\n", hash(&other))));
    engine.files.replace("engine.toml", &config("endpiont = 1\n"));
    let (code, text) = engine.reload();
    assert!(code == 422 && text.contains("unknown key `endpiont`") && text.contains("engine.toml:9"), "{code} {text}");
    engine.files.replace("engine.toml", &config("pipeline = \"shop\"\n[engine]\nrole = \"gateway\"\n"));
    let (code, text) = engine.reload();
    assert!(code == 422 && text.contains("`engine.role` cannot change while the process runs"), "{code} {text}");
    for (head, expected) in [
        ("POST /reload HTTP/1.1\r\nhost: evil.example", "403"),
        ("POST /reload HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost", "403"),
        ("GET /reload HTTP/1.1\r\nhost: localhost", "405"),
    ] {
        assert_eq!(engine.ask(head).0.split(' ').nth(1), Some(expected), "{head}");
    }
    assert_eq!(engine.status().config_hash, hash(&other));
}

/// A configuration that is refused changes nothing, and `/status`, `/metrics` and, once, the log say so until a good one runs.
#[test]
fn a_bad_configuration_is_told_and_changes_nothing() {
    let engine = Engine::start(&config(""));
    let metric = |engine: &Engine, name: &str| {
        let (_, text) = engine.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("telemetry_engine_{name} "))).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next().map(str::to_owned)).unwrap()
    };
    assert_eq!(engine.status().reload, None);
    assert_eq!(metric(&engine, "config_last_reload_successful"), "1");
    let mut connection = Connection::to(&engine);
    let bad = config("endpiont = 1\n");
    engine.files.replace("engine.toml", &bad);
    for _ in 0..3 {
        assert_eq!(engine.reload().0, 422);
    }
    let status = engine.status();
    let reload = status.reload.unwrap();
    assert_eq!((status.config_hash, reload.result), (hash(&config("")), ReloadResult::Refused));
    assert_eq!(reload.refused_hash, Some(hash(&bad)));
    assert!(reload.problem.unwrap().contains("unknown key `endpiont`") && reload.last_attempt_unix_seconds > 0);
    assert_eq!(metric(&engine, "config_last_reload_successful"), "0");
    assert_eq!(metric(&engine, "config_reloads_total{result=\"refused\"}"), "3");
    connection.send(&(Connection::head(LOGS.len()) + LOGS));
    assert!(connection.answer().starts_with("http/1.1 200"));
    engine.files.replace("engine.toml", &config("pipeline = \"shop\"\n"));
    assert_eq!(engine.reload().0, 200);
    let reload = engine.status().reload.unwrap();
    assert_eq!((reload.result, reload.problem, reload.refused_hash), (ReloadResult::Applied, None, None));
    assert_eq!(metric(&engine, "config_last_reload_successful"), "1");
    engine.signal(Signal::TERM);
    let (code, messages) = engine.end();
    let told = messages.iter().filter(|message| message.contains("the configuration is refused")).count();
    assert_eq!((code, told), (0, 1), "{messages:?}");
}

/// A mounted Secret: the files are links through `..data`, which is exchanged as a whole.
fn mount(directory: &Path, revision: &str, files: &[(&str, &str)]) {
    let folder = directory.join(format!("..{revision}"));
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
        let link = directory.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(format!("..data/{name}"), link).unwrap();
        }
    }
    symlink(format!("..{revision}"), directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

/// With `--watch` the exchange of a mounted Secret is noticed by content: another secret beside the configuration, or the same
/// text in another revision, is no reload.
#[test]
fn a_watch_follows_a_mounted_secret() {
    let files = Files::new(&[]);
    let directory = Path::new(&files.path("")).to_owned();
    mount(&directory, "1", &[("engine.toml", &config("")), ("token", "a")]);
    let path = files.path("engine.toml");
    let mut engine = Engine::start_with(files, &["--config", &path, "--watch"]);
    mount(&directory, "2", &[("engine.toml", &config("")), ("token", "b")]);
    let other = config("pipeline = \"shop\"\n");
    mount(&directory, "3", &[("engine.toml", &other), ("token", "b")]);
    let line = engine.wait_for("another configuration runs");
    assert_eq!(
        (&line["fields"]["trigger"], &line["fields"]["config_hash"]),
        (&"changed files".into(), &hash(&other).into())
    );
    mount(&directory, "4", &[("engine.toml", "version = 1\n"), ("token", "b")]);
    let line = engine.wait_for("the configuration is refused, what runs goes on");
    assert!(line["fields"]["problem"].as_str().unwrap().contains("there is no source"), "{line}");
    mount(&directory, "5", &[("engine.toml", &config("")), ("token", "b")]);
    engine.wait_for("another configuration runs");
    let (_, metrics) = engine.get("/metrics");
    for (result, count) in [("applied", 2), ("refused", 1), ("unchanged", 0)] {
        let line = format!("telemetry_engine_config_reloads_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
}

/// A configuration that ran is what a start with a bad one runs, whatever is bad about it: text, options, or what is to be
/// built. It says so, and a good configuration heals it.
#[test]
fn a_start_with_a_bad_configuration_runs_the_last_good_one() {
    let state = tempfile::tempdir().unwrap();
    let directory = format!("[state]\ndirectory = \"{}\"\n", state.path().display());
    let good = config(&format!("[shutdown]\ngrace = \"3s\"\n{directory}"));
    let engine = Engine::start(&good);
    let kept = state.path().join(".last-good-config.json");
    while !kept.exists() {
        std::thread::yield_now();
    }
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().0, 0);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = good.replacen(
        "http.listen = \"127.0.0.1:0\"",
        &format!("http.listen = \"{}\"", taken.local_addr().unwrap()),
        1,
    );
    for (bad, why) in [
        (format!("{good}[sources.x\n"), "engine.toml:"),
        (good.replace("blackhole", "blackhule"), "there is no sink `blackhule`"),
        (in_use, "cannot listen on"),
    ] {
        let files = Files::new(&[("engine.toml", &bad)]);
        let path = files.path("engine.toml");
        let mut engine = Engine::start_with(files, &["--config", &path, "--watch"]);
        let status = engine.status();
        assert!(status.ready && status.last_good.is_some_and(|last| last.kept_unix_seconds > 0), "{status:?}");
        let reload = status.reload.unwrap();
        assert_eq!((status.config_hash, reload.refused_hash), (hash(&good), Some(hash(&bad))));
        assert!(reload.problem.as_ref().unwrap().contains(why), "{:?}", reload.problem);
        assert!(engine.get("/metrics").1.contains("telemetry_engine_config_last_good 1\n"));
        let better = good.replace("3s", "4s");
        engine.files.replace("engine.toml", &better);
        engine.wait_for("another configuration runs");
        let status = engine.status();
        assert_eq!((status.config_hash, status.last_good), (hash(&better), None));
        assert!(engine.get("/metrics").1.contains("telemetry_engine_config_last_good 0\n"));
        engine.signal(Signal::TERM);
        assert_eq!(engine.end().0, 0);
        // What runs from the next bad start on is the better one; the loop expects the first.
        let engine = Engine::start(&good);
        while !std::fs::read_to_string(&kept).unwrap().contains(&hash(&good)) {
            std::thread::yield_now();
        }
        drop(engine);
    }
}

/// Without a last good configuration, or with a damaged one, a bad configuration is refused as ever; `validate` never looks
/// for one. Values of variables are not kept.
#[test]
fn nothing_else_runs_in_place_of_a_bad_configuration() {
    let state = tempfile::tempdir().unwrap();
    let directory = format!("[state]\ndirectory = \"{}\"\n", state.path().display());
    let bad = config(&format!("endpiont = 1\n{directory}"));
    let files = Files::new(&[("engine.toml", &bad)]);
    let path = files.path("engine.toml");
    let refused = |command: &str| {
        let output = program(&[command, "--config", &path, "--expand-environment"]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && text.contains("unknown key `endpiont`"), "{text}");
        text
    };
    refused("run");
    files.replace("engine.toml", &config(&format!("pipeline = \"${{PIPELINE}}\"\n{directory}")));
    let arguments = ["run", "--config", &path, "--expand-environment"];
    let mut child = program(&arguments).env("PIPELINE", "of-a-variable").spawn().unwrap();
    let kept = state.path().join(".last-good-config.json");
    while !kept.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the engine ended");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(text.contains("${PIPELINE}") && !text.contains("of-a-variable"), "{text}");
    files.replace("engine.toml", &bad);
    refused("validate");
    std::fs::write(&kept, text.replace("PIPELINE", "OTHER")).unwrap();
    let text = refused("run");
    assert!(text.contains("the last good configuration is of no use") && text.contains("is damaged"), "{text}");
}

/// What an engine has open: files and threads.
fn open(engine: &Engine) -> (u64, u64) {
    let (_, text) = engine.get("/metrics");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    (value("process_open_fds "), value("process_threads "))
}

/// A hundred reloads of an engine under load, each with sources, transforms and sinks at random: in the end as many files and
/// threads are open as in the beginning, no request was refused, and every record is delivered.
#[test]
fn a_hundred_reloads_leave_nothing_behind() {
    let random = |number: u64, of: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % of;
    let text = |number: u64| {
        let mut text = config(&format!("batch.max_records = {}\n", 1 + random(number, 2)));
        if random(number + 1000, 2) == 0 {
            text = text.replace("[\"apps\"]", "[\"edit\"]");
            text += &format!(
                "[transforms.edit]\ntype = \"resource\"\ninputs = [\"apps\"]\nupsert.team = \"t{}\"\n",
                random(number, 3)
            );
        }
        for extra in 0..random(number + 2000, 4) {
            text += &format!(
                "[sources.more-{extra}]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\ngrpc.max_request_size = \"{}MiB\"\n\
                 [transforms.select-{extra}]\ntype = \"select\"\ninputs = [\"apps\", \"more-{extra}\"]\nkeep.team = [\"a\"]\n\
                 [sinks.out-{extra}]\ntype = \"blackhole\"\ninputs = [\"select-{extra}\"]\n",
                1 + random(number + 3000, 2)
            );
        }
        text
    };
    let engine = Engine::start(&config(""));
    let mut connection = Connection::to(&engine);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let mut records = 0_u64;
        loop {
            connection.send(&(Connection::head(LOGS.len()) + LOGS));
            let answer = connection.answer();
            assert!(answer.starts_with("http/1.1 200"), "{answer}");
            records += 1;
            if stopped.try_recv().is_ok() {
                return records;
            }
        }
    });
    let reload = |text: &str| {
        engine.files.replace("engine.toml", text);
        let (code, answer) = engine.reload();
        assert_eq!((code, answer.trim()), (200, hash(text).as_str()), "{text}");
    };
    // Threads and pools that are made once are there after these.
    (1000..1010).for_each(|number| reload(&text(number)));
    reload(&config(""));
    let at_rest = || loop {
        if engine.status().components.len() == 2 {
            return open(&engine);
        }
    };
    let before = at_rest();
    (0..100).for_each(|number| reload(&text(number)));
    reload(&config(""));
    let after = at_rest();
    stop.send(()).unwrap();
    let records = load.join().unwrap();
    assert!(
        after.0 <= before.0 + 2 && after.1 <= before.1 + 2,
        "files and threads: {before:?} before, {after:?} after"
    );
    let delivered = || {
        let status = engine.status();
        let out = status.components.into_iter().find(|component| component.id.as_str() == "out").unwrap();
        out.sink.unwrap().ledger
    };
    while delivered().delivered < records {
        std::thread::yield_now();
    }
    let ledger = delivered();
    assert!(ledger.balanced && ledger.accepted == records && ledger.dropped.is_empty(), "{ledger:?}");
}

/// A source that reads files begins when the one before has ended, and a file that is written has one writer: while both are
/// replaced again and again every line arrives once, in order.
#[test]
fn files_are_read_once_and_written_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (log, out) = (path("app.log"), path("out.jsonl"));
    let text = |revision: usize| {
        format!(
            "version = 1\nadmin.listen = \"127.0.0.1:0\"\nstate.directory = \"{}\"\n\
             [sources.logs]\ntype = \"file\"\npaths = [\"{log}\"]\nstart_at = \"beginning\"\nmax_line_size = \"{}KiB\"\n\
             [sinks.out]\ntype = \"file\"\ninputs = [\"logs\"]\npath = \"{out}\"\nsync = {}\nacknowledge = \"delivered\"\n",
            path("state"),
            64 + revision,
            revision % 2 == 1
        )
    };
    std::fs::write(&log, "").unwrap();
    let engine = Engine::start(&text(0));
    let mut appended = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    for revision in 1..=20 {
        for number in 0..50 {
            writeln!(appended, "line {revision} {number}.").unwrap();
        }
        engine.files.replace("engine.toml", &text(revision));
        assert_eq!(engine.reload().0, 200);
    }
    let expected: Vec<String> =
        (1..=20).flat_map(|revision| (0..50).map(move |number| format!("line {revision} {number}."))).collect();
    let written = || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let ends = text.match_indices("\"line ").map(|(at, _)| text[at + 1..].split('"').next().unwrap().to_owned());
        ends.collect::<Vec<_>>()
    };
    while written().len() < expected.len() {
        std::thread::yield_now();
    }
    assert_eq!(written(), expected);
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().0, 0);
    assert_eq!(written().len(), expected.len());
}
