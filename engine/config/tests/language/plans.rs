//! What the plan makes of a configuration that is right.

use std::collections::BTreeMap;
use std::time::Duration;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::HeaderValue;
use engine_config::{
    ByteSize, DiskSettings, Environment, Kind, Known, Loaded, ParseOptions, SecretRef, SignalSet, SinkRecord,
    SinkRecordError, SourceFile, WhenFull, load, sinks, sources,
};
use insta::assert_snapshot;

use crate::fakes::judge_with_fakes;
use crate::{CATALOG, accepted, judge_in, pair, refused};

fn when_full(loaded: &Loaded, sink: &str) -> WhenFull {
    loaded.plan.node(sink).unwrap().sink.as_ref().unwrap().buffer.when_full
}

/// Nodes stand behind those whose data they get, and options come out typed.
#[test]
fn nodes_stand_in_the_order_of_the_data() {
    let loaded = accepted(
        r#"version = 1
[sinks.a]
type = "otlp"
inputs = ["z", "y"]
endpoint = "http://backend:4317"
[transforms.z]
type = "resource"
inputs = ["y"]
delete = ["a"]
[transforms.y]
type = "resource"
inputs = ["x"]
delete = ["a"]
[sources.x]
type = "generate"
"#,
    );
    let ids: Vec<&str> = loaded.plan.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["x", "y", "z", "a"]);
    let kinds: Vec<Kind> = loaded.plan.nodes.iter().map(|node| node.kind).collect();
    assert_eq!(kinds, [Kind::Source, Kind::Transform, Kind::Transform, Kind::Sink]);
    let consumers = |node: usize| -> Vec<usize> {
        loaded.plan.nodes[node].outputs[0].consumers.iter().map(|consumer| consumer.node).collect()
    };
    assert_eq!((consumers(0), consumers(1), consumers(2)), (vec![1], vec![3, 2], vec![3]));
    assert!(loaded.plan.nodes[0].options.downcast_ref::<sources::Generate>().is_some());
    assert!(loaded.plan.nodes[3].options.downcast_ref::<sinks::OtlpSink>().is_some());
    assert!(loaded.plan.nodes[3].options.downcast_ref::<sinks::Console>().is_none());
}

/// Signals flow from sources on; an edge carries what both ends do.
#[test]
fn signals_are_inferred() {
    let loaded = accepted(
        r#"version = 1
[sources.apps]
type = "otlp"
[sources.host]
type = "host_metrics"
[transforms.mark]
type = "resource"
inputs = ["apps", "host"]
delete = ["a"]
[sinks.logs]
type = "console"
inputs = ["mark"]
signals = ["logs"]
[sinks.others]
type = "blackhole"
inputs = ["mark"]
signals = ["traces", "metrics"]
"#,
    );
    let signals = |id: &str| loaded.plan.node(id).unwrap().signals;
    assert_eq!((signals("host"), signals("mark")), (SignalSet::METRICS, SignalSet::ALL));
    assert_eq!((signals("logs"), signals("others")), (SignalSet::LOGS, SignalSet::ALL.without(SignalSet::LOGS)));
    let edges: Vec<SignalSet> =
        loaded.plan.node("mark").unwrap().outputs[0].consumers.iter().map(|c| c.signals).collect();
    assert_eq!(edges, [signals("logs"), signals("others")]);
    assert!(loaded.plan.warnings.is_empty());
}

/// A full buffer refuses, blocks or drops, whichever cannot hurt a neighbour.
#[test]
fn a_full_buffer_never_hurts_a_neighbour() {
    let one_sink = |source: &str| accepted(&pair("", source, "type = \"console\""));
    assert_eq!(when_full(&one_sink("otlp"), "b"), WhenFull::Refuse);
    assert_eq!(when_full(&one_sink("generate"), "b"), WhenFull::Block);
    let two_sinks = |left: &str, right: &str| {
        accepted(&format!(
            r#"version = 1
[sources.a]
type = "generate"
[sinks.b]
type = "console"
inputs = ["a"]
signals = {left}
[sinks.c]
type = "blackhole"
inputs = ["a"]
signals = {right}
"#
        ))
    };
    let same = two_sinks(r#"["logs", "traces"]"#, r#"["metrics", "logs"]"#);
    assert_eq!((when_full(&same, "b"), when_full(&same, "c")), (WhenFull::DropNewest, WhenFull::DropNewest));
    let apart = two_sinks(r#"["logs", "traces"]"#, r#"["metrics"]"#);
    assert_eq!((when_full(&apart, "b"), when_full(&apart, "c")), (WhenFull::Refuse, WhenFull::Refuse));
}

/// Sinks of one source with different signals may each refuse, because no request is for both; a sink that blocks holds
/// up the source whatever it carries.
#[test]
fn refusing_is_a_matter_of_one_signal() {
    let text = |when_full: &str| {
        format!(
            r#"version = 1
[sources.a]
type = "otlp"
[sinks.b]
type = "console"
inputs = ["a"]
signals = ["logs"]
buffer.when_full = "{when_full}"
[sinks.c]
type = "blackhole"
inputs = ["a"]
signals = ["traces", "metrics"]
"#
        )
    };
    assert_eq!(when_full(&accepted(&text("refuse")), "b"), WhenFull::Refuse);
    assert!(refused(&text("block")).contains("needs the source `a` for itself"));
}

/// Named outputs are inputs of others, and an output that does not exist is answered with those that do.
#[test]
fn named_outputs() {
    let text = |input: &str| {
        format!(
            r#"version = 1
[sources.t]
type = "otlp"
[transforms.split]
type = "split"
inputs = ["t"]
[sinks.errors]
type = "console"
inputs = ["{input}"]
[sinks.rest]
type = "blackhole"
inputs = ["split"]
"#
        )
    };
    let loaded = judge_with_fakes(&text("split.errors")).unwrap_or_else(|problems| panic!("{problems}"));
    let split = loaded.plan.node("split").unwrap();
    let outputs: Vec<_> = split.outputs.iter().map(|output| (output.name.as_deref(), output.signals)).collect();
    assert_eq!(outputs, [(None, SignalSet::ALL), (Some("errors"), SignalSet::LOGS)]);
    assert_eq!(split.outputs[1].consumers[0].id.as_str(), "errors");
    assert_eq!(loaded.plan.node("errors").unwrap().inputs[0].to_string(), "split.errors");
    assert!(split.facts.looks_at_records);
    let problems = judge_with_fakes(&text("split.error")).unwrap_err();
    assert_snapshot!(problems, @r#"engine.toml:9:11: sinks.errors: `split` has no output `error`, expected `errors`, did you mean `errors`?"#);
    let problems = judge_with_fakes(&text("t.error")).unwrap_err();
    assert_snapshot!(problems, @r#"engine.toml:9:11: sinks.errors: `t` has no output `error`; it has one output, `t`"#);
}

/// A source that can read again is not told "safe" before the backend has answered, unless the user accepts it.
#[test]
fn a_source_that_can_read_again() {
    let text = |keys: &str| pair("", "tail", &format!("type = \"console\"\n{keys}"));
    assert_snapshot!(judge_with_fakes(&text("")).unwrap_err(), @r#"engine.toml:5:8: sinks.b: the source `a` can read its data again after a crash, and a memory buffer that answers early makes it forget what was not delivered, expected `acknowledge = "delivered"`, `buffer.type = "disk"`, or `may_lose_on_crash = true`"#);
    assert!(judge_with_fakes(&text("acknowledge = \"delivered\"")).is_ok());
    assert!(judge_with_fakes(&text("may_lose_on_crash = true")).is_ok());
    let useless = text("acknowledge = \"delivered\"\nmay_lose_on_crash = true");
    assert_snapshot!(judge_with_fakes(&useless).unwrap_err(), @"engine.toml:9:21: sinks.b: `may_lose_on_crash` has no effect: nothing is answered before it is delivered; remove it");
}

/// Parts of the memory add up to the limit, whoever sets it.
#[test]
fn memory_is_divided() {
    let text = |limit: &str, first: &str| {
        format!(
            r#"version = 1
{limit}
[sources.apps]
type = "otlp"
[sinks.a]
type = "blackhole"
inputs = ["apps"]
{first}
[sinks.b]
type = "blackhole"
inputs = ["apps"]
"#
        )
    };
    let known = |memory_limit, memory_total| Known {
        memory_limit: Option::map(memory_limit, ByteSize::mib),
        memory_total: Option::map(memory_total, ByteSize::mib),
        ..Known::default()
    };
    let cases: [(&str, &str, Known, u64, u64, u64); 7] = [
        ("", "", known(Some(200), Some(64_000)), 140, 35, 35),
        ("", "", known(Some(100), Some(64_000)), 52, 13, 13),
        ("", "", known(Some(40), Some(64_000)), 16, 4, 4),
        ("", "", known(None, Some(2_000)), 500, 64, 64),
        ("", "", known(None, Some(64_000)), 1024, 64, 64),
        ("memory.limit = \"40MiB\"", "", known(Some(100), None), 40, 10, 10),
        ("", "buffer.max_size = \"300MiB\"", known(None, Some(2_000)), 500, 300, 64),
    ];
    for (limit, first, environment, expected_limit, expected_a, expected_b) in cases {
        let loaded = judge_in(&text(limit, first), &Environment::Known(environment)).unwrap();
        let memory = &loaded.plan.memory;
        let mebibytes = |size: ByteSize| size.0 >> 20;
        let shares: BTreeMap<&str, u64> =
            memory.buffers.iter().map(|(id, size)| (id.as_str(), mebibytes(*size))).collect();
        assert_eq!(shares, BTreeMap::from([("a", expected_a), ("b", expected_b)]), "{limit} {first}");
        assert_eq!(mebibytes(memory.limit), expected_limit);
        let sum = memory.frames.0 + memory.admission.0 + memory.buffers.values().map(|size| size.0).sum::<u64>();
        assert_eq!(sum, memory.limit.0);
        assert!(memory.admission.0 >= memory.limit.0 / 8);
    }
}

/// Buffers may take what connections and requests in flight leave, and not a byte more.
#[test]
fn buffers_leave_room_for_requests() {
    let text = |bytes: u64| {
        let keys = format!("type = \"console\"\nbuffer.max_size = {bytes}");
        pair("memory.limit = \"64MiB\"", "otlp", &keys)
    };
    let most = 48 << 20;
    assert_eq!(accepted(&text(most)).plan.memory.admission, ByteSize::mib(8));
    assert!(refused(&text(most + 1)).contains("leaves 48MiB"));
}

/// Settings that are not written come from the machine or from their defaults.
#[test]
fn settings_of_the_process() {
    let text = |settings: &str| pair(settings, "generate", "type = \"console\"");
    let lanes = |engine: &str, cores: usize| {
        let environment = Environment::Known(Known { cores: Some(cores), ..Known::default() });
        judge_in(&text(engine), &environment).unwrap().plan.settings.lanes
    };
    assert_eq!((lanes("", 4), lanes("", 64), lanes("engine.lanes = 2", 64)), (4, 8, 2));
    let settings = accepted(&text("engine.role = \"gateway\"\nshutdown.delay = \"10s\"")).plan.settings;
    assert_eq!(settings.role.as_deref(), Some("gateway"));
    assert_eq!((settings.shutdown_delay, settings.shutdown_grace), (Duration::from_secs(10), Duration::from_secs(30)));
    assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:13133");
}

/// What runs and was hardly meant is a warning.
#[test]
fn warnings() {
    let loaded = accepted(
        r#"version = 1
[sources.apps]
type = "otlp"
[sources.idle]
type = "generate"
[sinks.backend]
type = "otlp"
inputs = ["apps"]
signals = ["logs"]
endpoint = "http://backend:4318"
"#,
    );
    assert_snapshot!(loaded.plan.warnings, @r#"
    engine.toml:2:10: warning: sources.apps: no sink gets the metrics, traces of this source: what comes is thrown away and counted; write `signals = ["logs"]`, or add a sink
    engine.toml:4:10: warning: sources.idle: no sink gets the data of this source; name `idle` in the `inputs` of a sink or of a transform before one, or remove it
    engine.toml:10:12: warning: sinks.backend: port 4318 is usually OTLP over HTTP, and this sink speaks gRPC; set `protocol = "http"`, or use port 4317
    "#);
}

/// An instance lives on when only its neighbours change, and not when its own keys do.
#[test]
fn the_same_instance() {
    let text = |delete: &str, input: &str, timeout: &str| {
        format!(
            r#"version = 1
[sources.a]
type = "otlp"
[transforms.t]
type = "resource"
inputs = ["a"]
delete = ["{delete}"]
[sinks.b]
type = "otlp"
inputs = ["{input}"]
endpoint = "http://backend:4317"
timeout = "{timeout}"
[sinks.c]
type = "blackhole"
inputs = ["t"]
"#
        )
    };
    let first = accepted(&text("x", "t", "1s"));
    let rewired = accepted(&text("y", "a", "1s"));
    let changed = accepted(&text("x", "t", "2s"));
    let same = |other: &Loaded, id: &str| first.plan.node(id).unwrap().is_same_instance(other.plan.node(id).unwrap());
    assert!(same(&rewired, "a") && same(&rewired, "b") && same(&changed, "t"));
    assert!(!same(&rewired, "t") && !same(&changed, "b"));
}

/// A gateway of hundreds of pipelines is planned in one go, and every sink gets its share.
#[test]
fn hundreds_of_pipelines() {
    let mut text = "version = 1\nmemory.limit = \"2GiB\"\n[sources.apps]\ntype = \"otlp\"\n".to_owned();
    for number in 0..300 {
        text.push_str(&format!(
            r#"[transforms.select-{number}]
type = "select"
inputs = ["apps"]
keep = {{ "k8s.namespace.name" = ["team-{number}"] }}
[sinks.backend-{number}]
type = "otlp"
inputs = ["select-{number}"]
endpoint = "http://backend-{number}:4317"
"#
        ));
    }
    let plan = accepted(&text).plan;
    assert_eq!(plan.nodes.len(), 601);
    assert_eq!(plan.nodes[0].outputs[0].consumers.len(), 300);
    assert!(plan.memory.buffers.values().all(|share| *share >= ByteSize::mib(1)));
    assert!(
        plan.nodes
            .iter()
            .filter_map(|node| node.sink.as_ref())
            .all(|sink| sink.buffer.when_full == WhenFull::DropNewest)
    );
}

/// Nothing is merged only to be split again.
#[test]
fn batches_fit_into_requests() {
    let text =
        |keys: &str| pair("", "generate", &format!("type = \"otlp\"\nendpoint = \"http://backend:4317\"\n{keys}"));
    let merged =
        |keys: &str| accepted(&text(keys)).plan.node("b").unwrap().sink.as_ref().unwrap().batch.unwrap().max_size;
    assert_eq!(merged(""), ByteSize::mib(1));
    assert_eq!(merged("max_request_size = \"512KiB\""), ByteSize::kib(512));
    assert_eq!(merged("batch.max_size = \"2MiB\""), ByteSize::mib(2));
    assert_snapshot!(refused(&text("batch.max_size = \"8MiB\"")), @"engine.toml:9:18: sinks.b: `batch.max_size` (8MiB) is larger than `max_request_size` (4MiB); lower the one or raise the other");
}

/// Several files make one configuration: settings tables are joined key by key.
#[test]
fn files_are_merged() {
    let first = "version = 1\nshutdown.delay = \"10s\"\n[sources.a]\ntype = \"generate\"\n";
    let second = "version = 1\nshutdown.grace = \"20s\"\n[sinks.b]\ntype = \"console\"\ninputs = [\"a\"]\n";
    let files = [SourceFile::new("a.toml", first), SourceFile::new("b.toml", second)];
    let judged = |files: &[SourceFile]| load(files, &CATALOG, &Environment::Unknown, &ParseOptions::default());
    let settings = judged(&files).unwrap().plan.settings;
    assert_eq!((settings.shutdown_delay, settings.shutdown_grace), (Duration::from_secs(10), Duration::from_secs(20)));
    let unversioned = [files[0].clone(), SourceFile::new("b.toml", second.replace("version = 1\n", ""))];
    assert_snapshot!(judged(&unversioned).unwrap_err(), @r#"b.toml:1:1: `version` is missing; write `version = 1` in the first line"#);
    assert_snapshot!(judged(&[]).unwrap_err(), @r#"
    there is no source; add a table `[sources.ID]`
    there is no sink; add a table `[sinks.ID]`
    "#);
}

/// A plan names the file of a secret in the directory; the configuration goes on saying the reference.
#[test]
fn secrets_of_a_directory_are_files() {
    let keys = r#"type = "otlp"
endpoint = "https://backend:4317"
headers.authorization = { secret = "directory:token" }
headers.x-tenant = "shop""#;
    let planned = |directory: &str| {
        let loaded = accepted(&pair(&format!("secrets.directory = \"{directory}\""), "otlp", keys));
        let printed = loaded.pipeline.to_toml_redacted(&CATALOG);
        assert!(printed.contains("secret = \"directory:token\""), "{printed}");
        loaded.plan.node("b").unwrap().clone()
    };
    let (node, moved) = (planned("/run/secrets"), planned("/mnt/secrets"));
    let file = SecretRef::File("/run/secrets/token".into());
    assert_eq!(node.facts.references.iter().map(|reference| &reference.target).collect::<Vec<_>>(), [&file]);
    let headers = &node.options.downcast_ref::<OtlpSink>().unwrap().headers;
    assert!(matches!(&headers["authorization"], HeaderValue::Secret(header) if header.secret == file));
    assert!(matches!(&headers["x-tenant"], HeaderValue::Plain(text) if text.expose() == "shop"));
    assert!(node.is_same_instance(&planned("/run/secrets")) && !node.is_same_instance(&moved));
}

const WATCHED: &str = r#"
[sources.events]
type = "watch"
bookmark = "last"
[sources.more]
type = "watch"
[sinks.console]
type = "console"
inputs = ["events", "more"]
"#;

/// A component that keeps something while there is no place for it is refused, at the key that asks for it if there is
/// one, with what to write. A place that is written wrongly is one problem, not several.
#[test]
fn state_without_a_directory() {
    let problems = judge_with_fakes(&format!("version = 1\n{WATCHED}")).unwrap_err().to_string();
    assert_snapshot!(problems, @r#"
    engine.toml:5:12: sources.events: the source `watch` keeps what must survive a restart, and `state.directory` is not set; add `[state]` with `directory = "/var/lib/telemetry-engine"`, or another directory that this program may write
    engine.toml:6:10: sources.more: the source `watch` keeps what must survive a restart, and `state.directory` is not set; add `[state]` with `directory = "/var/lib/telemetry-engine"`, or another directory that this program may write
    "#);
    let relative = format!("version = 1\nstate.directory = \"here\"\n{WATCHED}");
    assert_snapshot!(judge_with_fakes(&relative).unwrap_err(), @r#"engine.toml:2:19: state: `directory`: `here` is not an absolute path, expected an absolute path such as "/etc/telemetry/ca.pem""#);
}

/// Components that use one service are planned as users of one.
#[test]
fn one_service_for_all() {
    let text = format!("version = 1\n[state]\ndirectory = \"/var/lib/engine\"\n{WATCHED}");
    let plan = judge_with_fakes(&text).unwrap().plan;
    let services: Vec<String> =
        plan.services.iter().map(|service| format!("{}: {:?}", service.id, service.users)).collect();
    assert_eq!(services, [r#"state: ["events", "more"]"#]);
    assert_eq!(plan.settings.state_directory.as_deref(), Some(std::path::Path::new("/var/lib/engine")));
    assert!(plan.warnings.is_empty());
}

/// A place for secrets that nobody uses is worth a word; one for state holds the configuration at least.
#[test]
fn a_directory_for_nothing() {
    let text = pair("state.directory = \"/here\"\nsecrets.directory = \"/there\"", "otlp", "type = \"console\"");
    let warnings = judge_with_fakes(&text).unwrap().plan.warnings.to_string();
    assert_snapshot!(warnings, @r"
    engine.toml:3:21: warning: secrets: `directory` has no effect: no component names a secret in it; remove it, or write references as `directory:NAME`
    ");
}

/// A disk buffer needs a directory, an owner of its own, and a sink that answers when it is buffered. What has no effect is
/// refused.
#[test]
fn disk_buffers() {
    let text = |settings: &str, keys: &str| {
        pair(settings, "otlp", &format!("type = \"blackhole\"\nbuffer.type = \"disk\"\n{keys}"))
    };
    let state = "state.directory = \"/here\"";
    let settings = |keys: &str| accepted(&text(state, keys)).plan.node("b").unwrap().sink.clone().unwrap();
    let plain = settings("");
    assert_eq!((plain.identity.as_str(), plain.drain_timeout), ("b", Duration::from_secs(60)));
    assert_eq!(plain.disk, Some(DiskSettings { max_size: ByteSize::gib(1), max_age: None }));
    assert!(plain.buffer.max_size <= ByteSize::mib(64), "the share of memory is that of any buffer");
    let written = settings("buffer.max_size = \"64MiB\"\nbuffer.max_age = \"1h\"\nbuffer.identity = \"shop\"");
    assert_eq!(written.identity.as_str(), "shop");
    assert_eq!(
        written.disk,
        Some(DiskSettings { max_size: ByteSize::mib(64), max_age: Some(Duration::from_secs(3600)) })
    );
    assert!(!written.is_same_driver(&plain), "another owner is another buffer");
    assert!(settings("buffer.max_age = \"1h\"\nbuffer.max_size = \"2GiB\"").is_same_driver(&plain));
    assert_snapshot!(refused(&text("", "")), @r#"engine.toml:8:15: sinks.b: a disk buffer needs `state.directory`, which is not set; add `[state]` with `directory = "/var/lib/telemetry-engine"`, or another directory that this program may write"#);
    assert_snapshot!(refused(&text(state, "acknowledge = \"delivered\"\nbuffer.when_full = \"drop_oldest\"\nbuffer.max_size = \"1MiB\"")), @r#"
    engine.toml:8:15: sinks.b: `buffer.type = "disk"` has no effect with `acknowledge = "delivered"`: whoever sent the data keeps it until it is delivered, expected `acknowledge = "buffered"`, or `"memory"`
    engine.toml:10:20: sinks.b: `buffer.when_full = "drop_oldest"` would drop what somebody waits for, because of `acknowledge = "delivered"`, expected "refuse" or "block"
    engine.toml:11:19: sinks.b: `buffer.max_size` of a disk buffer is at least 8MiB
    "#);
    let memory = pair("", "otlp", "type = \"blackhole\"\nbuffer.max_age = \"1h\"");
    assert_snapshot!(refused(&memory), @"engine.toml:8:18: sinks.b: `buffer.max_age` has no effect on a memory buffer; remove it, or limit attempts by `retry.max_elapsed`");
    let twice = text(state, "[sinks.c]\ntype = \"blackhole\"\ninputs = [\"a\"]\nbuffer.identity = \"b\"");
    assert_snapshot!(refused(&twice), @"engine.toml:12:19: sinks.c: the buffer `b` belongs to the sink `b` already; give it another `buffer.identity`");
}

/// What is kept of a sink gives the same sink again, whatever its type and keys are; references to secrets are paths by then.
/// Where a value stands that may be a secret itself, or the sink cannot run alone, nothing is kept.
#[test]
fn records_of_sinks() {
    let planned = |keys: &str| {
        let settings = "state.directory = \"/here\"\nsecrets.directory = \"/run/secrets\"";
        accepted(&pair(settings, "otlp", keys)).plan.node("b").unwrap().clone()
    };
    for keys in [
        "type = \"console\"",
        "type = \"blackhole\"\nbuffer = { type = \"disk\", identity = \"shop\", max_age = \"1h\", drain_timeout = \"90s\" }",
        "type = \"file\"\npath = \"/tmp/out\"\npipeline = \"shop\"",
        "type = \"otlp\"\nendpoint = \"https://backend:4317\"\nsignals = [\"logs\"]\nbatch.timeout = \"3s\"\nconcurrency = 7\n\
         headers.authorization = { secret = \"directory:token\" }\nretry.max_elapsed = \"1h\"",
    ] {
        let node = planned(keys);
        let text = serde_json::to_string(&SinkRecord::of(&node, &CATALOG).unwrap()).unwrap();
        let record: SinkRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(record.identity(), &node.sink.as_ref().unwrap().identity);
        let again = record.node(&CATALOG).unwrap();
        assert!(again.is_same_instance(&node), "{text}");
        assert_eq!((&again.sink, &again.facts, again.type_name), (&node.sink, &node.facts, node.type_name));
    }
    let refused = |keys: &str| SinkRecord::of(&planned(keys), &CATALOG).unwrap_err();
    let otlp = "type = \"otlp\"\nendpoint = \"https://backend:4317\"";
    let error = refused(&format!("{otlp}\nheaders.x-tenant = \"hunter2\""));
    assert!(matches!(error, SinkRecordError::Sensitive), "{error}");
    let error = refused("type = \"prometheus\"\nlisten = \"127.0.0.1:9\"");
    assert!(matches!(error, SinkRecordError::Dependent), "{error}");
    let text = serde_json::to_string(&SinkRecord::of(&planned(otlp), &CATALOG).unwrap()).unwrap();
    let other: SinkRecord = serde_json::from_str(&text.replace("\"otlp\"", "\"oltp\"")).unwrap();
    assert!(matches!(other.node(&CATALOG).unwrap_err(), SinkRecordError::UnknownType(name) if name == "oltp"));
    let other: SinkRecord = serde_json::from_str(&text.replace("\"endpoint\"", "\"to\"")).unwrap();
    assert!(matches!(other.node(&CATALOG).unwrap_err(), SinkRecordError::Options(_)));
}
