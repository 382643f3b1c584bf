//! Buffers on disk that engines leave behind: looked into by the command line, and told by engines that have no sink for them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use engine_config::status::OrphanedBuffer;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Engine, command};

const SEGMENT: &str = "00000000000000000000.segment";
const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"get"}]}]}]}"#;

fn log(body: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{body}"}}}}]}}]}}]}}"#)
}

/// A state directory, and a backend that never answers.
struct Place {
    state: tempfile::TempDir,
    backend: TcpListener,
}

impl Place {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), backend: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn state(&self) -> String {
        self.state.path().display().to_string()
    }

    fn buffer(&self, identity: &str) -> PathBuf {
        self.state.path().join("buffers").join(identity)
    }

    /// Sinks with these identities and more keys of their buffers.
    fn config(&self, sinks: &[(&str, &str)]) -> String {
        let backend = self.backend.local_addr().unwrap();
        let sink = |(number, (identity, more)): (usize, &(&str, &str))| {
            format!(
                "[sinks.out-{number}]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{backend}\"\n\
                 buffer = {{ type = \"disk\", identity = \"{identity}\"{more} }}\n"
            )
        };
        let sinks: String = sinks.iter().enumerate().map(sink).collect();
        format!(
            "version = 1\nadmin.listen = \"127.0.0.1:0\"\n[state]\ndirectory = \"{}\"\n[shutdown]\ngrace = \"1s\"\n\
             [sources.apps]\ntype = \"otlp\"\nhttp.listen = \"127.0.0.1:0\"\n[sinks.gone]\ntype = \"blackhole\"\n\
             inputs = [\"apps\"]\n{sinks}",
            self.state()
        )
    }

    /// Has nobody know any more which sinks there were, as if their time to deliver were over.
    fn forget_sinks(&self) {
        std::fs::remove_file(self.state.path().join(".disk-sinks.json")).unwrap();
    }

    /// Has an engine leave log records, one a request, and so many spans in a buffer.
    fn fill(&self, identity: &str, bodies: &[&str], spans: usize) {
        let engine = Engine::start(&self.config(&[(identity, "")]));
        for body in bodies {
            assert_eq!(engine.post("apps", "/v1/logs", &log(body)).0, 200);
        }
        for _ in 0..spans {
            assert_eq!(engine.post("apps", "/v1/traces", SPAN).0, 200);
        }
        end(engine);
    }
}

fn end(engine: Engine) {
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().0, 0);
}

/// What is in the files of a directory.
fn bytes_of(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

fn bodies(lines: &str) -> Vec<String> {
    let requests = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let body = |request: Value| {
        request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"]["stringValue"].as_str().map(str::to_owned)
    };
    requests.filter_map(body).collect()
}

/// Damages the payload of a frame; the first is 0. Where the frame begins in its file.
fn damage(file: &Path, frame: usize) -> usize {
    let mut bytes = std::fs::read(file).unwrap();
    let starts: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place..].starts_with(b"TFRM")).collect();
    bytes[starts[frame] + 60] ^= 1;
    std::fs::write(file, bytes).unwrap();
    starts[frame]
}

/// While an engine has a buffer nobody looks into it. What it leaves is told in numbers, is whole, and comes out as the requests
/// that went in, as often as one likes; no byte changes, and the next engine finds all of it.
#[test]
fn what_an_engine_left_can_be_looked_at() {
    let place = Place::new();
    let path = place.buffer("shop").display().to_string();
    let engine = Engine::start(&place.config(&[("shop", "")]));
    for body in ["one", "two", "three"] {
        assert_eq!(engine.post("apps", "/v1/logs", &log(body)).0, 200);
    }
    assert_eq!(engine.post("apps", "/v1/traces", SPAN).0, 200);
    for words in ["inspect", "verify", "export"] {
        let said = command(&["buffer", words, &path], &[]);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{words}");
        assert!(said.stderr.contains(&format!("{path} is in use by another process")), "{}", said.stderr);
    }
    end(engine);
    let before = bytes_of(Path::new(&path));

    let said = command(&["buffer", "inspect", &place.state()], &[]);
    for part in ["buffer shop\n", "4 frames, 4 records", "all frames before 0", SEGMENT, "sealed", "version          1"]
    {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let said = command(&["buffer", "inspect", "--format", "json", &path], &[]);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    let buffer = &answer["buffers"][0];
    assert_eq!((&buffer["identity"], &buffer["records"], &buffer["version"]), (&"shop".into(), &4.into(), &1.into()));
    let size: usize = before.values().map(Vec::len).sum();
    assert_eq!(buffer["bytes"], size);
    let segment = &buffer["segments"][0];
    assert_eq!((&segment["sealed"], &segment["frames"]), (&true.into(), &4.into()));
    // Fractions have no zeros at their ends, so the letter behind them would be compared with digits.
    let moment = |key: &str| segment[key].as_str().unwrap().trim_end_matches('Z').to_owned();
    assert!(moment("oldest") <= moment("newest"), "{segment}");

    let said = command(&["buffer", "verify", &place.state()], &[]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "shop: all is well: 4 frames, 4 records (logs 3, traces 1)\n"));
    for _ in 0..2 {
        let said = command(&["buffer", "export", &path], &[]);
        assert_eq!((said.code, said.stdout.lines().count()), (0, 4), "{}", said.stderr);
        assert_eq!(bodies(&said.stdout), ["one", "two", "three"]);
        assert!(said.stdout.contains("5b8efff798038103d269b633813fc60c"), "{}", said.stdout);
        assert!(said.stderr.contains("shop: 4 frames, 4 records written"), "{}", said.stderr);
    }
    assert_eq!(bytes_of(Path::new(&path)), before);

    let engine = Engine::start(&place.config(&[("shop", "")]));
    let sinks = engine.status().components.into_iter().filter_map(|component| component.sink);
    assert_eq!(sinks.map(|sink| sink.ledger.recovered).sum::<u64>(), 4);
}

/// What is damaged is told with its file and offset, by a code, and keeps nothing else from coming out.
#[test]
fn damage_is_told_and_the_rest_comes_out() {
    let place = Place::new();
    place.fill("shop", &["one", "two", "three"], 0);
    let path = place.buffer("shop");
    let offset = damage(&path.join(SEGMENT), 1);
    let before = bytes_of(&path);
    let told = format!("{}/{SEGMENT}, offset {offset}: 1 frame with 1 record damaged", path.display());
    let path = path.display().to_string();
    let said = command(&["buffer", "verify", &path], &[]);
    let verdict = "shop: 2 frames, 2 records (logs 2) whole, 1 frame, 1 record damaged\n";
    assert_eq!((said.code, said.stdout), (1, format!("{told}\n{verdict}")));
    let said = command(&["buffer", "export", &path], &[]);
    assert_eq!((said.code, bodies(&said.stdout)), (1, vec!["one".to_owned(), "three".to_owned()]));
    assert!(said.stderr.contains(&format!("error: {told}\n")), "{}", said.stderr);
    assert!(said.stderr.ends_with("error: 1 frame, 1 record damaged\n"), "{}", said.stderr);
    assert_eq!(bytes_of(Path::new(&path)), before, "nothing is put aside by a look");
}

/// A file of somebody else is not overwritten unless that is said, and none is made in the buffer; what is written is for its
/// owner only.
#[test]
fn export_to_a_file() {
    let place = Place::new();
    place.fill("shop", &["one"], 0);
    let path = place.buffer("shop").display().to_string();
    let out = place.state.path().join("out.jsonl");
    let output = out.display().to_string();
    let said = command(&["buffer", "export", &path, "--output", &output], &[]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.stderr);
    assert_eq!(bodies(&std::fs::read_to_string(&out).unwrap()), ["one"]);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::write(&out, "mine, and longer than a line that is written over it".repeat(100)).unwrap();
    let before = std::fs::read(&out).unwrap();
    let said = command(&["buffer", "export", &path, "--output", &output], &[]);
    assert!(said.code == 1 && said.stderr.contains("--force"), "{said:?}");
    assert_eq!(std::fs::read(&out).unwrap(), before);
    let said = command(&["buffer", "export", &path, "--output", &output, "--force"], &[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bodies(&std::fs::read_to_string(&out).unwrap()), ["one"]);

    let inside = place.buffer("shop").join("out.jsonl").display().to_string();
    let said = command(&["buffer", "export", &path, "--output", &inside], &[]);
    assert!(said.code == 1 && said.stderr.contains("a file of the buffer"), "{said:?}");
    assert!(!Path::new(&inside).exists());
    let said = command(&["buffer", "export", &path, "--output", "/nonexistent/out.jsonl"], &[]);
    assert!(said.code == 1 && said.stderr.contains("cannot write /nonexistent/out.jsonl"), "{said:?}");
    assert_eq!(command(&["buffer", "export", &path, "--force"], &[]).code, 2, "there is nothing to overwrite");
}

/// All buffers of a state directory are told, those that cannot be read as well; lines are of one buffer. A wrong place is told
/// with what there is.
#[test]
fn several_buffers_and_wrong_places() {
    let place = Place::new();
    place.fill("shop", &["one"], 0);
    place.fill("pay", &["two"], 0);
    let strange = place.buffer("strange");
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("notes.txt"), "").unwrap();
    let said = command(&["buffer", "inspect", &place.state()], &[]);
    assert!(
        said.code == 1 && said.stdout.contains("buffer pay\n") && said.stdout.contains("buffer shop\n"),
        "{said:?}"
    );
    assert!(said.stderr.contains("strange is no buffer: it has `notes.txt`; expected"), "{}", said.stderr);
    let said = command(&["buffer", "verify", &place.buffer("").display().to_string()], &[]);
    assert_eq!((said.code, said.stdout.matches("all is well: 1 frame, 1 record").count()), (1, 2), "{said:?}");
    let said = command(&["buffer", "export", &place.state()], &[]);
    assert!(said.code == 1 && said.stdout.is_empty() && said.stderr.contains("expected one of"), "{said:?}");
    for identity in ["pay", "shop"] {
        assert!(said.stderr.contains(&format!("  {}\n", place.buffer(identity).display())), "{}", said.stderr);
    }
    std::fs::remove_dir_all(&strange).unwrap();
    std::fs::remove_dir_all(place.buffer("pay")).unwrap();
    let said = command(&["buffer", "export", &place.state()], &[]);
    assert_eq!((said.code, bodies(&said.stdout)), (0, vec!["one".to_owned()]), "the only one is meant");

    let said = command(&["buffer", "inspect", &place.buffer("shp").display().to_string()], &[]);
    assert!(said.code == 1 && said.stderr.contains("shp does not exist; "), "{said:?}");
    assert!(said.stderr.contains("buffers has `shop/`"), "{}", said.stderr);
    assert_eq!(command(&["buffer", "inspect"], &[]).code, 2);
}

/// Help and completions know the commands, with their codes.
#[test]
fn help_and_completions_know_them() {
    let help = command(&["buffer", "--help"], &[]).stdout;
    for word in ["inspect", "verify", "export"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for word in ["verify", "export"] {
        assert!(command(&["buffer", word, "--help"], &[]).stdout.contains("Exit codes"), "{word}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = command(&["completion", shell], &[]).stdout;
        assert!(script.contains("inspect") && script.contains("force"), "{shell}");
    }
}

/// CRC-32C of a segment's header without the checksum itself.
fn header_checksum(header: &[u8]) -> u32 {
    let bytes = header[..12].iter().chain(&header[16..]);
    let crc = bytes.fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    });
    !crc
}

fn orphan(identity: &str, used: &Path, records: u64) -> OrphanedBuffer {
    let used_bytes = bytes_of(used).values().map(|bytes| bytes.len() as u64).sum();
    OrphanedBuffer { identity: identity.to_owned(), used_bytes, records }
}

/// What a start finds that belongs to no sink is told once each, in `/status`, metrics and the log, and stays as it is: a buffer, one
/// of a later version, and a directory that is none. A sink with the identity gets it; a sink that still delivers keeps its own.
#[test]
fn a_buffer_without_a_sink_is_an_orphan() {
    let place = Place::new();
    place.fill("shop", &["one", "two"], 1);
    place.forget_sinks();
    let (shop, later, strange) = (place.buffer("shop"), place.buffer("later"), place.buffer("strange"));
    std::fs::create_dir(&later).unwrap();
    let mut header = std::fs::read(shop.join(SEGMENT)).unwrap()[..40].to_vec();
    assert_eq!(header[12..16], header_checksum(&header).to_le_bytes(), "it is read as the format says");
    header[8] = 7;
    let checksum = header_checksum(&header).to_le_bytes();
    header[12..16].copy_from_slice(&checksum);
    std::fs::write(later.join(SEGMENT), header).unwrap();
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("notes.txt"), "some notes").unwrap();
    std::fs::write(place.buffer("file"), "").unwrap();
    let before = [bytes_of(&shop), bytes_of(&later), bytes_of(&strange)];

    let keeps = ", drain_timeout = \"1h\"";
    let mut engine = Engine::start(&place.config(&[("pay", keeps)]));
    let unknown =
        |identity: &str| format!("the buffer `{identity}` belongs to no sink, and what it holds is not known");
    let line = engine.wait_for(&unknown("later"));
    assert!(line["fields"]["problem"].as_str().unwrap().contains("is of version 7"), "{line}");
    let line = engine.wait_for(&format!(
        "the buffer `shop` belongs to no sink: one with this `buffer.identity` delivers what it holds, and \
         `telemetry-engine buffer export {}` reads it",
        shop.display()
    ));
    assert_eq!((&line["level"], &line["fields"]["records"]), (&"WARN".into(), &3.into()));
    let line = engine.wait_for(&unknown("strange"));
    assert!(line["fields"]["problem"].as_str().unwrap().contains("it has `notes.txt`"), "{line}");
    let found = [orphan("later", &later, 0), orphan("shop", &shop, 3), orphan("strange", &strange, 0)];
    assert_eq!(engine.status().orphaned_buffers, found);
    let metrics = engine.get("/metrics").1;
    for line in [
        "telemetry_engine_orphaned_buffers 3\n".to_owned(),
        "telemetry_engine_orphaned_buffer_records{identity=\"shop\"} 3\n".to_owned(),
        format!("telemetry_engine_orphaned_buffer_bytes{{identity=\"shop\"}} {}\n", found[1].used_bytes),
        "telemetry_engine_orphaned_buffer_bytes{identity=\"strange\"} 10\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}");
    }
    assert_eq!([bytes_of(&shop), bytes_of(&later), bytes_of(&strange)], before, "a look changes nothing");

    // What `pay` holds is still to be delivered when the sink is gone; `new` says when the search behind the reload is done.
    assert_eq!(engine.post("apps", "/v1/logs", &log("three")).0, 200);
    std::fs::create_dir(place.buffer("new")).unwrap();
    engine.files.replace("engine.toml", &place.config(&[("shop", "")]));
    assert_eq!(engine.reload().0, 200);
    assert!(engine.status().orphaned_buffers.iter().all(|orphan| orphan.identity != "shop"));
    engine.wait_for(&format!(
        "the buffer `new` belongs to no sink, and holds nothing that was not delivered: {}",
        place.buffer("new").display()
    ));
    let names: Vec<String> = engine.status().orphaned_buffers.into_iter().map(|orphan| orphan.identity).collect();
    assert_eq!(names, ["later", "new", "strange"]);
    engine.signal(Signal::TERM);
    let (_, messages) = engine.end();
    let again = messages.iter().filter(|message| message.contains("belongs to no sink")).count();
    assert_eq!(again, 0, "what is known is not told again: {messages:?}");

    place.forget_sinks();
    let mut engine = Engine::start(&place.config(&[]));
    let told = |identity: &str| {
        format!(
            "the buffer `{identity}` belongs to no sink: one with this `buffer.identity` delivers what it holds, and \
             `telemetry-engine buffer export {}` reads it",
            place.buffer(identity).display()
        )
    };
    let line = engine.wait_for(&told("pay"));
    assert_eq!(line["fields"]["records"], 1, "it was given to nobody else");
    let line = engine.wait_for(&told("shop"));
    assert_eq!(line["fields"]["records"], 3);
}

/// The buffer of a sink that was removed is an orphan when the sink has come to its end.
#[test]
fn the_buffer_of_a_removed_sink_becomes_an_orphan() {
    let place = Place::new();
    let mut engine = Engine::start(&place.config(&[("shop", "")]));
    engine.files.replace("engine.toml", &place.config(&[]));
    assert_eq!(engine.reload().0, 200);
    engine.wait_for(&format!(
        "the buffer `shop` belongs to no sink, and holds nothing that was not delivered: {}",
        place.buffer("shop").display()
    ));
    assert_eq!(engine.status().orphaned_buffers, [orphan("shop", &place.buffer("shop"), 0)]);
}

/// However many directories there are, a hundred have series of their own, and the others one together.
#[test]
fn metrics_of_orphans_are_bounded() {
    let place = Place::new();
    for number in 0..103 {
        let path = place.buffer(&format!("gone-{number:03}"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("notes.txt"), "seven b").unwrap();
    }
    let mut engine = Engine::start(&place.config(&[]));
    engine.wait_for("the buffer `gone-102` belongs to no sink, and what it holds is not known");
    assert_eq!(engine.status().orphaned_buffers.len(), 103);
    let metrics = engine.get("/metrics").1;
    let series = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("telemetry_engine_orphaned_buffer_bytes{"), 101);
    assert_eq!(series("telemetry_engine_orphaned_buffer_records{"), 101);
    for line in [
        "telemetry_engine_orphaned_buffers 103\n",
        "telemetry_engine_orphaned_buffer_bytes{identity=\"gone-099\"} 7\n",
        "telemetry_engine_orphaned_buffer_bytes{identity=\"other\"} 21\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}
