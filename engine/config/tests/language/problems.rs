//! The full text of the problems that people meet most, as they read it.

use std::collections::BTreeMap;

use engine_config::{ByteSize, Environment, Known, ParseOptions, SecretRef, SourceFile, load};
use insta::assert_snapshot;

use crate::{CATALOG, accepted, judge, judge_in, pair, refused};

/// Data that goes in a circle is named with the way around it, even when a source feeds the circle; what hangs behind one
/// is unreachable, and what leads nowhere is useless.
#[test]
fn connections_that_make_no_sense() {
    let problems = |transforms: &[(&str, &str)], sink_inputs: &str| {
        let mut text = "version = 1\n[sources.apps]\ntype = \"otlp\"\n".to_owned();
        for (id, inputs) in transforms {
            text += &format!("[transforms.{id}]\ntype = \"resource\"\ndelete = [\"a\"]\ninputs = [{inputs}]\n");
        }
        text += &format!("[sinks.console]\ntype = \"console\"\ninputs = [{sink_inputs}]\n");
        refused(&text)
    };
    assert_snapshot!(problems(&[("self", "'apps', 'self'")], "'self'"), @"engine.toml:7:10: transforms.self: data goes in a circle: self -> self; remove one of these connections from `inputs`");
    assert_snapshot!(problems(&[("one", "'apps', 'two'"), ("two", "'one'")], "'two'"), @"engine.toml:7:10: transforms.one: data goes in a circle: one -> two -> one; remove one of these connections from `inputs`");
    let round = [("one", "'three'"), ("two", "'one'"), ("three", "'two'")];
    assert_snapshot!(problems(&round, "'three'"), @r"
    engine.toml:2:10: warning: sources.apps: no sink gets the data of this source; name `apps` in the `inputs` of a sink or of a transform before one, or remove it
    engine.toml:7:10: transforms.one: data goes in a circle: one -> two -> three -> one; remove one of these connections from `inputs`
    engine.toml:16:8: sinks.console: no source reaches this sink; name a source, or a transform behind one, in `inputs`
    ");
    assert_snapshot!(problems(&[("idle", "'apps'")], "'apps'"), @"engine.toml:4:13: transforms.idle: no sink gets the data of this transform; name `idle` in the `inputs` of a sink or of a transform before one, or remove it");
}

/// An input that does not exist is answered with the nearest that does.
#[test]
fn missing_input() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[sinks.console]
type = "console"
inputs = ["app"]
[sinks.file]
type = "file"
path = "out.json"
inputs = ["console"]
[sinks.nothing]
type = "blackhole"
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:6:11: sinks.console: there is no source or transform `app`, did you mean `apps`?
    engine.toml:10:11: sinks.file: `console` is a sink, which gives no data, expected a source or a transform
    engine.toml:11:8: sinks.nothing: `inputs` is missing, expected a list, each item the id of a component, or "ID.output"
    "#);
}

/// Two components and the administration server want one port.
#[test]
fn two_components_on_one_port() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
grpc.listen = "[::]:4317"
[sources.agents]
type = "otlp"
grpc.listen = "127.0.0.1:4317"
http.listen = "127.0.0.1:13133"
[sinks.one]
type = "file"
path = "/tmp/out.json"
inputs = ["apps"]
[sinks.two]
type = "file"
path = "/tmp/./out.json"
inputs = ["agents"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:7:15: sources.agents: the address 127.0.0.1:4317 is taken by sources.apps, which listens on [::]:4317; choose another port
    engine.toml:8:15: sources.agents: the address 127.0.0.1:13133 is taken by admin; choose another port
    engine.toml:15:8: sinks.two: the file /tmp/./out.json is taken by sinks.one; choose another path
    "#);
}

/// The listener for an operator wants a port of its own, and a token that is there.
#[test]
fn a_status_listener_without_port_or_token() {
    let with = |status: &str| {
        refused(&format!(
            r#"version = 1
[sources.apps]
type = "otlp"
grpc.listen = "[::]:4317"
[sinks.one]
type = "blackhole"
inputs = ["apps"]
[status]
{status}
"#
        ))
    };
    let taken = [
        with("listen = \"[::]:13133\"\ntoken = \"file:/etc/token\""),
        with("listen = \"10.0.0.1:4317\"\ntoken = \"file:/etc/token\""),
    ];
    assert_snapshot!(taken.join("\n"), @r#"
    engine.toml:9:10: status: the address [::]:13133 is taken by admin, which listens on 127.0.0.1:13133; choose another port
    engine.toml:9:10: status: the address 10.0.0.1:4317 is taken by sources.apps, which listens on [::]:4317; choose another port
    "#);
    assert_snapshot!(with("listen = \"[::]:8889\""), @r#"engine.toml:8:2: status: `token` is missing, expected "file:/path", "directory:NAME" or "env:NAME""#);
    assert_snapshot!(with("token = \"directory:token\"\nlisten = \"[::]:8889\""), @r#"engine.toml:9:9: status: `directory:token` needs `secrets.directory`, which is not set; write `secrets.directory = "/path"` above the first table, or the reference as `file:/path`"#);
    let text = "version = 1\n[sources.apps]\ntype = \"otlp\"\n[sinks.one]\ntype = \"blackhole\"\ninputs = [\"apps\"]\n\
                [status]\nlisten = \"[::]:8889\"\ntoken = \"file:/etc/token\"\n";
    let reference: SecretRef = "file:/etc/token".parse().unwrap();
    let secrets = [(reference, Err("the file is empty".to_owned()))].into();
    let problems = judge_in(text, &Environment::Known(Known { secrets, ..Known::default() })).unwrap_err();
    assert_snapshot!(problems, @r#"engine.toml:9:9: status: `file:/etc/token` cannot be read: the file is empty; make it readable for this program, or name another one"#);
}

/// A component that cannot carry a signal says which it can, and an input over which nothing comes is a mistake.
#[test]
fn wrong_signal() {
    let text = refused(
        r#"version = 1
[sources.host]
type = "host_metrics"
[sources.traces]
type = "host_metrics"
signals = ["traces"]
[sinks.logs]
type = "console"
inputs = ["host"]
signals = ["logs"]
[sinks.all]
type = "blackhole"
inputs = ["traces"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:6:11: sources.traces: the source `host_metrics` cannot carry traces, expected metrics
    engine.toml:9:11: sinks.logs: `host` gives metrics, and this sink takes logs; remove the input, or change `signals`
    "#);
}

/// Marks are believed only from those who have a token; what nobody reads of the cluster is told; keys of labels are keys.
#[test]
fn clusters_and_trust() {
    let text = judge(
        r#"version = 1
[kubernetes]
cluster_name = "eu-1"
[sources.apps]
type = "otlp"
grpc.trusted = true
[sources.agents]
type = "otlp"
grpc.listen = "127.0.0.1:4319"
grpc.trusted = true
grpc.auth.basic.users = { a = "file:/a" }
[sinks.out]
type = "blackhole"
inputs = ["apps", "agents"]
"#,
    );
    assert_snapshot!(text.unwrap_err(), @r"
    engine.toml:3:16: warning: kubernetes: `kubernetes` has no effect: no component asks the cluster; remove it
    engine.toml:6:16: sources.apps: `trusted` without a token would believe anybody's marks, expected `auth.bearer.tokens`; add `grpc.auth.bearer.tokens`, or remove `trusted`
    engine.toml:10:16: sources.agents: `trusted` without a token would believe anybody's marks, expected `auth.bearer.tokens`; add `grpc.auth.bearer.tokens`, or remove `trusted`
    ");
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[transforms.wrong]
type = "kubernetes_attributes"
inputs = ["apps"]
pod_labels = ["a*b", "", "*"]
[transforms.nothing]
type = "kubernetes_attributes"
inputs = ["apps"]
attributes = []
service = "none"
[sinks.out]
type = "blackhole"
inputs = ["wrong", "nothing"]
"#,
    );
    assert_snapshot!(text, @r"
    engine.toml:7:14: transforms.wrong: `` is no key and no beginning of keys, expected a key, or the beginning of keys and `*`
    engine.toml:7:14: transforms.wrong: `a*b` is no key and no beginning of keys, expected a key, or the beginning of keys and `*`
    engine.toml:8:13: transforms.nothing: nothing to do, expected at least one of `attributes`, `service` and labels
    ");
}

/// A source of one node that would follow the pods of all of them is told to name its node, unless somebody else follows all
/// pods anyway. Without the annotation no cluster is asked. A variable that nobody replaced names no node.
#[test]
fn one_node_is_enough() {
    let logs = |keys: &str, settings: &str, input: &str| {
        let text = format!(
            "version = 1\n{settings}\n[state]\ndirectory = \"/state\"\n[sources.logs]\ntype = \"kubernetes_logs\"\n{keys}\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"{input}\"]\nacknowledge = \"delivered\"\n"
        );
        let plan = accepted(&text).plan;
        let services: Vec<String> = plan.services.iter().map(|service| service.id.to_string()).collect();
        format!("{}\n{}", services.join(" "), plan.warnings)
    };
    let annotation = "opt_out_annotation = \"example.com/no-logs\"";
    assert_snapshot!(logs("", "", "logs"), @"state");
    assert_snapshot!(logs(annotation, "", "logs"), @r#"
    kubernetes state
    engine.toml:7:22: warning: sources.logs: `opt_out_annotation` follows all pods of the cluster on every node, because `kubernetes.node` is not set; add `[kubernetes]` with `node`, on Kubernetes `"${NODE_NAME}"` with `--expand-environment` and a variable from the downward API
    "#);
    assert_snapshot!(logs(annotation, "[kubernetes]\nnode = \"node-1\"", "logs"), @"kubernetes state");
    let attributes = "[transforms.pods]\ntype = \"kubernetes_attributes\"\ninputs = [\"logs\"]";
    assert_snapshot!(logs(annotation, attributes, "pods"), @"kubernetes state");
    let literal = pair("kubernetes.node = \"${NODE_NAME}\"", "generate", "type = \"blackhole\"");
    assert_snapshot!(refused(&literal), @r#"
    engine.toml:2:19: kubernetes: `node`: `${NODE_NAME}` is not the name of a node, expected small letters, digits, and `-` and `.` between them, such as "node-1"; environment variables are replaced only where that is switched on
    "#);
}

/// A secret that is not there is named where it is used, with the reason.
#[test]
fn missing_secret() {
    let token = SecretRef::File("/etc/telemetry/token".into());
    let ca = SecretRef::File("/etc/telemetry/ca.pem".into());
    let secrets = BTreeMap::from([(token, Err("no such file".to_owned())), (ca, Err("permission denied".to_owned()))]);
    let environment = Environment::Known(Known { secrets, ..Known::default() });
    let keys = r#"type = "otlp"
endpoint = "https://backend:4317"
headers.authorization = { secret = "file:/etc/telemetry/token", prefix = "Bearer" }
tls.ca = "/etc/telemetry/ca.pem""#;
    let text = pair("", "otlp", keys);
    assert_snapshot!(judge_in(&text, &environment).unwrap_err(), @r"
    engine.toml:9:36: sinks.b: `file:/etc/telemetry/token` cannot be read: no such file; make it readable for this program, or name another one
    engine.toml:10:10: sinks.b: `file:/etc/telemetry/ca.pem` cannot be read: permission denied; make it readable for this program, or name another one
    ");
    assert!(judge(&text).is_ok(), "an unknown environment is not asked");
}

/// A reference into the directory of secrets names the directory, the nearest name in it, and never a content; without
/// a directory it says how to set one.
#[test]
fn secrets_of_a_directory() {
    let text = |settings: &str, reference: &str| {
        let header = format!("headers.authorization = {{ secret = \"{reference}\", prefix = \"Bearer\" }}");
        pair(settings, "otlp", &format!("type = \"otlp\"\nendpoint = \"https://backend:4317\"\n{header}"))
    };
    assert_snapshot!(refused(&text("", "directory:shop-token")), @r#"engine.toml:9:36: sinks.b: `directory:shop-token` needs `secrets.directory`, which is not set; write `secrets.directory = "/path"` above the first table, or the reference as `file:/path`"#);
    assert_snapshot!(refused(&text("", "directory:../token")), @r#"engine.toml:9:36: sinks.b: `headers.authorization.secret`: `../token` is not the name of a file in a directory of secrets: letters, digits and `-_.`, not `..` in front, expected "file:/path", "directory:NAME" or "env:NAME""#);
    assert_snapshot!(refused(&text("secrets.directory = \"secrets\"", "directory:shop-token")), @r#"engine.toml:2:21: secrets: `directory`: `secrets` is not an absolute path, expected an absolute path such as "/etc/telemetry/ca.pem""#);
    let with = text("secrets.directory = \"/run/secrets\"", "directory:shop-token");
    assert!(judge(&with).is_ok(), "an unknown environment is not asked");
    let judged = |reason: &str, names: &[&str]| {
        let secrets = BTreeMap::from([(SecretRef::Directory("shop-token".to_owned()), Err(reason.to_owned()))]);
        let secret_names = names.iter().map(|name| (*name).to_owned()).collect();
        let known = Known { secrets, secret_names, ..Known::default() };
        judge_in(&with, &Environment::Known(known)).unwrap_err().to_string()
    };
    assert_snapshot!(judged("no such file", &["ca.crt", "shop.token"]), @"engine.toml:9:36: sinks.b: `directory:shop-token` cannot be read from /run/secrets: no such file, did you mean `shop.token`? the directory has `ca.crt`, `shop.token`");
    assert_snapshot!(judged("no such file", &["ca.crt"]), @"engine.toml:9:36: sinks.b: `directory:shop-token` cannot be read from /run/secrets: no such file; the directory has `ca.crt`");
    assert_snapshot!(judged("permission denied", &[]), @"engine.toml:9:36: sinks.b: `directory:shop-token` cannot be read from /run/secrets: permission denied; put the file there, readable for this program, or set `secrets.directory` to where it is");
    let many: Vec<String> = (0..12).map(|number| format!("key-{number:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(judged("no such file", &many).ends_with("`key-09` and 2 more"));
}

/// An id is unique across kinds and files; settings are not overridden either.
#[test]
fn duplicate_id() {
    let first = r#"version = 1
memory.limit = "256MiB"
[sources.apps]
type = "otlp"
[sinks.console]
type = "console"
inputs = ["apps"]
"#;
    let second = r#"version = 1
memory.limit = "512MiB"
[transforms.apps]
type = "resource"
inputs = ["apps"]
delete = ["a"]
[sinks.console]
type = "console"
inputs = ["apps"]
"#;
    let files = [SourceFile::new("one.toml", first), SourceFile::new("two.toml", second)];
    let problems = load(&files, &CATALOG, &Environment::Unknown, &ParseOptions::default()).unwrap_err();
    assert_snapshot!(problems, @r#"
    two.toml:2:8: memory: `limit` is set in another file already; keep one of them
    two.toml:3:13: transforms.apps: the id `apps` is taken by sources.apps at one.toml:3:10; give one of them another id
    two.toml:7:8: sinks.console: the id `console` is taken by sinks.console at one.toml:5:8; give one of them another id
    "#);
}

/// Behind a source with two sinks neither may make it wait.
#[test]
fn delivered_with_two_sinks() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[sinks.backend]
type = "otlp"
inputs = ["apps"]
endpoint = "http://backend:4317"
acknowledge = "delivered"
[sinks.file]
type = "file"
path = "/tmp/out.json"
inputs = ["apps"]
buffer.when_full = "block"
[sinks.third]
type = "blackhole"
inputs = ["apps"]
buffer.when_full = "refuse"
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:8:15: sinks.backend: `acknowledge = "delivered"` needs the source `apps` for itself, and that feeds `file` and `third` too: a slow backend here would hold up the others, expected "buffered", or a source of its own
    engine.toml:13:20: sinks.file: `buffer.when_full = "block"` needs the source `apps` for itself, and that feeds `backend` and `third` too: a full buffer here would hold up the others, expected "drop_newest", or a source of its own
    engine.toml:17:20: sinks.third: `buffer.when_full = "refuse"` needs the source `apps` for itself, and that feeds `backend` and `file` too: a full buffer here would hold up the others, expected "drop_newest", or a source of its own
    "#);
}

/// Buffers cannot promise more than there is.
#[test]
fn budget_overdrawn() {
    let text = refused(
        r#"version = 1
memory.limit = "128MiB"
[sources.apps]
type = "otlp"
[sinks.backend]
type = "otlp"
inputs = ["apps"]
endpoint = "http://backend:4317"
buffer.max_size = "96MiB"
[sinks.console]
type = "console"
inputs = ["apps"]
"#,
    );
    assert_snapshot!(text, @r#"engine.toml:9:19: sinks.backend: the buffers want 97MiB, and the memory limit of 128MiB leaves 96MiB for them beside connections and requests in flight; lower `buffer.max_size` of this or other sinks, or raise `memory.limit`"#);
    let text = pair("", "generate", "type = \"console\"\nbuffer.max_size = \"96MiB\"");
    let small = Known { memory_limit: Some(ByteSize::mib(100)), ..Known::default() };
    assert_snapshot!(judge_in(&text, &Environment::Known(small)).unwrap_err(), @"engine.toml:8:19: sinks.b: the buffers want 96MiB, and the memory limit of 52MiB leaves 45MiB for them beside connections and requests in flight; lower `buffer.max_size` of this or other sinks, or raise `memory.limit`");
}

/// Everything that is wrong is said at once, in the order of the file, each with its place.
#[test]
fn several_errors_at_once() {
    let text = refused(
        r#"version = 2
admin.lisen = "127.0.0.1:13133"
shutdown.grace = 30

[sources.apps]
type = "otpl"

[sources.Host]
type = "host_metrics"

[sources.other]
type = "otlp"
grpc.listen = ":4317"
http.tls.certificate = "/etc/cert.pem"

[transforms.shop]
type = "select"
inputs = ["aps"]
keep = { k8s.namespace.name = ["shop"] }

[transforms.mark]
type = "resource"
inputs = ["other"]
insert.cluster = "a"
delete = ["cluster"]

[sinks.backend]
type = "otlp"
inputs = ["shop", "mark"]
endpoint = "backend:4317"
timeout = "1000"
compresion = "gzip"
buffer = { type = "tape", max_size = "1KiB" }
retry.initial_interval = "10s"

[sinks.my.console]
type = "console"
inputs = ["shop"]

[outputs]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:1:11: this program does not read this `version`, expected the integer 1
    engine.toml:2:7: admin: unknown key `lisen`, did you mean `listen`?
    engine.toml:3:18: shutdown: `grace` is the integer 30, expected a duration such as "5s" or "100ms", at most 1h
    engine.toml:6:8: sources.apps: there is no source `otpl`, expected one of "file", "generate", "host_metrics", "internal", "kubernetes_logs", "otlp", did you mean `otlp`?
    engine.toml:8:10: sources.Host: `Host` is not an id: `H` is not allowed in an id at position 1, expected a letter or digit, then letters, digits and `_.-`, all lower-case
    engine.toml:13:15: sources.other: `grpc.listen`: `:4317` is not an IP address and a port, expected an IP address and a port such as "127.0.0.1:4317" or "[::]:4317"; write "[::]:4317" for every address
    engine.toml:14:6: sources.other: `http.tls.key` is missing, expected an absolute path such as "/etc/telemetry/ca.pem"
    engine.toml:18:11: transforms.shop: there is no source or transform `aps`, did you mean `apps`?
    engine.toml:19:10: transforms.shop: `keep.k8s` is a table, expected a list, each item a string, a boolean or a whole number; to write a key with dots, put it in quotes: `"k8s.namespace.name"`
    engine.toml:25:1: transforms.mark: the attribute `cluster` stands in `insert` and in `delete`; keep one of them
    engine.toml:30:12: sinks.backend: `endpoint`: `backend:4317` has no scheme, expected an address such as "http://host:4317" or "https://host:4317"; write "http://backend:4317", or "https://backend:4317" for TLS
    engine.toml:31:11: sinks.backend: `timeout`: `1000` is not a duration, expected a duration such as "5s" or "100ms", from 10ms to 10m
    engine.toml:32:1: sinks.backend: unknown key `compresion`, did you mean `compression`?
    engine.toml:33:19: sinks.backend: `buffer.type` is the string "tape", expected "memory" or "disk"
    engine.toml:33:38: sinks.backend: `buffer.max_size`: 1KiB is too small, expected a size such as "64MiB", at least 64KiB
    engine.toml:36:8: sinks.my: `type` is missing, expected one of "blackhole", "console", "file", "otlp", "prometheus"; put an id with dots in quotes: `[sinks."my.console"]`
    engine.toml:40:2: unknown key `outputs`; known tables are `sources`, `transforms`, `sinks`, `admin`, `status`, `memory`, `shutdown`, `engine`, `secrets`, `state`, `kubernetes`
    "#);
}

/// What one key says against another.
#[test]
fn contradictions_inside_a_component() {
    let text = refused(
        r#"version = 1
[sources.host]
type = "host_metrics"
scrapers = ["cpu", "cpu"]
[sources.other]
type = "host_metrics"
scrapers = ["memory"]
cpu.per_cpu = true
[transforms.both]
type = "select"
inputs = ["other"]
keep = { a = [1] }
drop = { b = [] }
[transforms.none]
type = "select"
inputs = ["other"]
[sinks.backend]
type = "otlp"
inputs = ["both", "none"]
endpoint = "http://backend:4318/otlp"
compression_level = 3
paths.logs = "/logs"
headers = { Content-Type = "x", A = "1", a = "2" }
tls.certificate = "/etc/cert.pem"
may_lose_on_crash = true
[sinks.zipped]
type = "otlp"
inputs = ["both"]
endpoint = "https://backend"
compression = "gzip"
compression_level = 12
[sinks.file]
type = "file"
inputs = ["both"]
path = "out.json"
max_files = 3
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:4:20: sources.host: `scrapers[1]` stands in the list already; remove it
    engine.toml:8:1: sources.other: `cpu` has no effect: `scrapers` does not hold "cpu"; add "cpu" to `scrapers` or remove `cpu`
    engine.toml:13:1: transforms.both: `keep` and `drop` exclude each other; remove one, or put two `select` one behind the other
    engine.toml:13:14: transforms.both: the attribute `b` has no values, so nothing can match, expected at least one value
    engine.toml:14:13: transforms.none: nothing is selected, expected one of `keep` and `drop`; for example `keep = { "k8s.namespace.name" = ["shop"] }`
    engine.toml:20:12: sinks.backend: the path `/otlp` has no meaning with gRPC; remove it, or set `protocol = "http"`
    engine.toml:20:12: warning: sinks.backend: port 4318 is usually OTLP over HTTP, and this sink speaks gRPC; set `protocol = "http"`, or use port 4317
    engine.toml:21:21: sinks.backend: `compression_level` has no effect without `compression`; set `compression` or remove the level
    engine.toml:22:1: sinks.backend: `paths` has no effect with gRPC; remove it, or set `protocol = "http"`
    engine.toml:23:28: sinks.backend: the header `Content-Type` is set by the sink itself; remove it
    engine.toml:23:46: sinks.backend: the headers `A` and `a` are the same: case does not count; keep one of them
    engine.toml:24:1: sinks.backend: `tls` has no effect with an `http://` endpoint; write `https://`, or remove `tls`
    engine.toml:24:19: sinks.backend: `tls.certificate` without `tls.key`; add `tls.key`
    engine.toml:31:21: sinks.zipped: gzip has no level 12, expected a whole number from 1 to 9
    engine.toml:36:13: sinks.file: `max_files` has no effect without `max_size`; add `max_size` or remove `max_files`
    "#);
}

/// Listeners that let in nobody, ask for nothing, or have everybody read their clients' passwords.
#[test]
fn contradictions_of_listeners() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[sources.apps.grpc]
listen = "[::]:4317"
max_connections = 10
max_connections_per_address = 11
auth = {}
cors = { allowed_origins = ["https://shop.example.com"] }
tls = { certificate = "/tls.crt", key = "/tls.key", client_names = ["*.example.com"] }
[sources.apps.http]
listen = "[::]:4318"
auth.bearer.tokens = ["file:/token", "file:/token"]
auth.basic.users = { "a:b" = "file:/password" }
cors = { allowed_origins = [] }
[sources.open]
type = "otlp"
http.listen = "0.0.0.0:4319"
http.auth.basic.users = { agents = "env:PASSWORD" }
http.cors = { allowed_origins = ["shop.example.com", "https://*.*"], allowed_headers = ["a b"] }
[sinks.console]
type = "console"
inputs = ["apps", "open"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:13:38: sources.apps: `http.auth.bearer.tokens[1]` stands in the list already; remove it
    engine.toml:14:22: sources.apps: the key `http.auth.basic.users."a:b"`: `a:b` is not the name of a user, expected a name without a colon
    engine.toml:15:28: sources.apps: `http.cors.allowed_origins` is empty, expected a list, each item an origin such as "https://shop.example.com" or "https://*.example.com", or "*"
    engine.toml:20:34: sources.open: `http.cors.allowed_origins[0]`: `shop.example.com` is not an origin, expected an origin such as "https://shop.example.com" or "https://*.example.com", or "*"
    engine.toml:20:54: sources.open: `http.cors.allowed_origins[1]`: `https://*.*` is not an origin, expected an origin such as "https://shop.example.com" or "https://*.example.com", or "*"
    engine.toml:20:89: sources.open: `http.cors.allowed_headers[0]`: this is not the name of a header, expected letters, digits and any of !#$%&'*+-.^_`|~
    "#);
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[sources.apps.grpc]
listen = "[::]:4317"
max_connections = 10
max_connections_per_address = 11
auth = {}
cors = { allowed_origins = ["https://shop.example.com"] }
tls = { certificate = "/tls.crt", key = "/tls.key", client_names = ["*.example.com"] }
[sources.apps.http]
listen = "0.0.0.0:4318"
auth.basic.users = { agents = "env:PASSWORD" }
[sinks.console]
type = "console"
inputs = ["apps"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:7:31: sources.apps: `max_connections_per_address` has no effect above `max_connections`; lower it, or raise the other
    engine.toml:8:1: sources.apps: `grpc.auth` names nobody who may send; name `basic.users` or `bearer.tokens`, or remove `auth`
    engine.toml:9:1: sources.apps: `cors` has no effect with gRPC, which browsers do not speak; move it to `http`
    engine.toml:10:68: sources.apps: `client_names` has no effect without `client_ca`: clients are asked for no certificate; set `client_ca`, or remove the names
    engine.toml:10:68: sources.apps: `*.example.com` holds a wildcard, and names of clients are compared as they are, expected whole DNS names or URIs
    engine.toml:13:1: warning: sources.apps: credentials come to 0.0.0.0:4318 in clear: whoever sees the traffic can send with them; set `http.tls`, or listen on a loopback address
    "#);
}

/// Edits of attributes that contradict one another, do nothing, or cannot be.
#[test]
fn contradictions_of_attribute_edits() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "generate"
[transforms.none]
type = "attributes"
inputs = ["apps"]
record = {}
[transforms.two]
type = "attributes"
inputs = ["none"]
record.upsert = { a = 1, "user.*" = 2 }
record.delete = ["a", "user.*", "user.name", "x*y", "z!", "z*"]
record.hash = ["user.id", "user.n*"]
[transforms.renames]
type = "attributes"
inputs = ["two"]
scope.rename = { a = "b", b = "c", d = "d", e = "f", g = "f", "h.*" = "i" }
resource.rename = { old = "user.id" }
resource.hash = ["*"]
[transforms.forms]
type = "attributes"
inputs = ["renames"]
scope.insert = { c = inf }
resource.rename = { "old" = "" }
record.bury = ["b"]
[sinks.out]
type = "blackhole"
inputs = ["forms"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:4:13: transforms.none: nothing to do, expected at least one action such as `record.upsert` or `resource.delete`; for example `record.delete = ["password"]`
    engine.toml:11:37: transforms.two: `user.*` is a prefix, and `upsert` takes single keys; name each key; only `delete` and `hash` take prefixes
    engine.toml:12:8: transforms.two: `x*y` has a `*` that is not its last character, expected a key, or its beginning and a `*`
    engine.toml:12:8: transforms.two: the attribute `a` stands in `upsert` and in `delete`; keep one of them, or put a second `attributes` behind this one
    engine.toml:12:8: transforms.two: `user.name` is covered by `user.*` already; remove it
    engine.toml:12:8: transforms.two: `z!` is covered by `z*` already; remove it
    engine.toml:13:8: transforms.two: `user.*` in `delete` and `user.id` in `hash` are for the same attribute; keep one of them, or put a second `attributes` behind this one
    engine.toml:13:8: transforms.two: `user.*` in `delete` and `user.n*` in `hash` are for the same attribute; keep one of them, or put a second `attributes` behind this one
    engine.toml:17:31: transforms.renames: the attribute `b` stands in `rename` twice; keep one of them, or put a second `attributes` behind this one
    engine.toml:17:40: transforms.renames: `d` is renamed to itself; remove it
    engine.toml:17:58: transforms.renames: the attribute `f` stands in `rename` twice; keep one of them, or put a second `attributes` behind this one
    engine.toml:17:71: transforms.renames: `h.*` is a prefix, and `rename` takes single keys; name each key; only `delete` and `hash` take prefixes
    engine.toml:18:27: transforms.renames: `*` in `hash` and `old` in `rename` are for the same attribute; keep one of them, or put a second `attributes` behind this one
    engine.toml:18:27: transforms.renames: `*` in `hash` and `user.id` in `rename` are for the same attribute; keep one of them, or put a second `attributes` behind this one
    engine.toml:23:22: transforms.forms: `scope.insert.c` is the float inf, expected a string, a boolean, a whole number or a number
    engine.toml:24:29: transforms.forms: `resource.rename.old`: an attribute needs a name, expected a name such as "service.name"
    engine.toml:25:8: transforms.forms: unknown key `bury` in `record`; known keys are `insert`, `update`, `upsert`, `delete`, `rename`, `hash`
    "#);
}

/// TOML that is not TOML is shown where it breaks, and the rest is judged all the same.
#[test]
fn syntax_errors() {
    let text = refused(
        r#"version = 1
[sources.apps
type = "otlp"
[sinks.console]
type = "console"
inputs = ["apps"
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:2:14: unclosed table, expected `]`
    engine.toml:6:17: unclosed array, expected `]`
    "#);
}

/// The slips of people who are new to TOML are answered with what to write.
#[test]
fn slips_of_beginners() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
signals = "logs"
grpc.listen = "localhost:4317"
[transforms.shop]
type = "filter"
inputs = ["apps"]
[transforms.pay]
type = "select"
inputs = "apps"
keep = { "service.name" = "pay" }
[sinks.console]
type = "splunk"
inputs = ["shop"]
[sinks.backend]
type = "otlp"
inputs = ["pay"]
endpoint = "localhost:4317"
tls = true
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:4:11: sources.apps: `signals` is the string "logs", expected a list, each item "logs", "metrics" or "traces"; write `["logs"]`
    engine.toml:5:15: sources.apps: `grpc.listen`: `localhost:4317` is not an IP address and a port, expected an IP address and a port such as "127.0.0.1:4317" or "[::]:4317"; write "127.0.0.1:4317"
    engine.toml:7:8: transforms.shop: there is no transform `filter`, expected one of "attributes", "kubernetes_attributes", "resource", "select"
    engine.toml:11:10: transforms.pay: `inputs` is the string "apps", expected a list, each item the id of a component, or "ID.output"; write `["apps"]`
    engine.toml:12:27: transforms.pay: `keep."service.name"` is the string "pay", expected a list, each item a string, a boolean or a whole number
    engine.toml:14:8: sinks.console: there is no sink `splunk`, expected one of "blackhole", "console", "file", "otlp", "prometheus"
    engine.toml:19:12: sinks.backend: `endpoint`: `localhost:4317` has no scheme, expected an address such as "http://host:4317" or "https://host:4317"; write "http://localhost:4317", or "https://localhost:4317" for TLS
    engine.toml:20:7: sinks.backend: `tls` is the boolean true, expected a table
    "#);
}

/// Columns count characters, spans count bytes.
#[test]
fn columns_count_characters() {
    let text = "version = 1\n[sinks.b]\ntype = \"console\"\ninputs = [\"a\"]\nbuffer = { \"größe\" = 1, x = 2 }\n";
    let problems = judge(text).unwrap_err();
    let problem = problems.iter().find(|problem| problem.message.contains("`x`")).unwrap();
    assert_eq!((problem.line, problem.column), (5, 25));
    assert_eq!(&text[problem.span.clone()], "x");
}

/// A table that stands twice in a file is said to.
#[test]
fn a_table_twice() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
type = "otlp"
[sources.apps]
type = "generate"
[sinks.console]
type = "console"
inputs = ["apps"]
"#,
    );
    assert_snapshot!(text, @r#"
    engine.toml:4:1: `type` stands here for the second time; join the two, or give one of them another name
    engine.toml:5:10: `apps` stands here for the second time; join the two, or give one of them another name
    engine.toml:6:1: `type` stands here for the second time; join the two, or give one of them another name
    "#);
}

/// Nothing at all, and no source or sink.
#[test]
fn too_little() {
    assert_snapshot!(refused(""), @r#"engine.toml:1:1: `version` is missing; write `version = 1` in the first line"#);
    assert_snapshot!(refused("version = 1\n"), @r#"
    engine.toml:1:1: there is no source; add a table `[sources.ID]`
    engine.toml:1:1: there is no sink; add a table `[sinks.ID]`
    "#);
    let text = refused("version = 1\nsources = 3\nmemory = 1\n[sinks]\nx = 1\n[sinks.y]\n");
    assert_snapshot!(text, @r#"
    engine.toml:2:11: `sources` is not a table, expected tables `[sources.ID]`
    engine.toml:3:10: memory: this is the integer 1, expected a table
    engine.toml:5:5: sinks.x: this is not a table, expected `[sinks.x]`; a component is a table with a `type`
    engine.toml:6:8: sinks.y: `type` is missing, expected one of "blackhole", "console", "file", "otlp", "prometheus"
    "#);
}

/// A secret that stands where a reference belongs, or a header that cannot be sent, is not repeated to whoever reads the
/// log.
#[test]
fn problems_keep_secrets() {
    let text = refused(
        r#"version = 1
[sources.apps]
type = "otlp"
[sinks.one]
type = "otlp"
inputs = ["apps"]
endpoint = "https://user:hunter2@backend:4317"
headers.a = { secret = "hunter2" }
headers.b = { secret = ["hunter2"], prefix = " hunter2" }
headers.c = ["hunter2"]
[sinks.two]
type = "otlp"
inputs = ["apps"]
endpoint = "https://backend:4317"
headers.a = "hunter2\n"
"#,
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert_snapshot!(text, @r#"
    engine.toml:7:12: sinks.one: `endpoint`: credentials do not belong into an address, expected an address such as "http://host:4317" or "https://host:4317"; use `headers` with a secret
    engine.toml:8:24: sinks.one: `headers.a.secret`: a reference to a secret starts with `file:`, `directory:` or `env:`, expected "file:/path", "directory:NAME" or "env:NAME"
    engine.toml:9:24: sinks.one: `headers.b.secret` is a list, expected "file:/path", "directory:NAME" or "env:NAME"
    engine.toml:9:46: sinks.one: `headers.b.prefix`: a header cannot carry these characters, expected visible ASCII characters and spaces
    engine.toml:10:13: sinks.one: `headers.c` is a list, expected a string or a table
    engine.toml:15:13: sinks.two: the value of header `a` holds characters that a header cannot carry, expected visible ASCII characters and spaces
    "#);
}

/// A variable that is not set is named; an unknown environment asks for none.
#[test]
fn environment_variables() {
    let text = r#"version = 1
[sources.apps]
type = "otlp"
grpc.listen = "${LISTEN}"
[sinks.backend]
type = "otlp"
inputs = ["apps"]
endpoint = "http://${BACKEND:-localhost}:4317"
timeout = "${TIMEOUT}"
compression = "${COMPRESSION}"
"#;
    let files = [SourceFile::new("engine.toml", text)];
    let options = ParseOptions { expand_environment: true };
    let judged = |environment: Environment| load(&files, &CATALOG, &environment, &options);
    let variables = BTreeMap::from([("TIMEOUT".to_owned(), "5".to_owned())]);
    let known = Environment::Known(Known { variables, ..Known::default() });
    assert_snapshot!(judged(known).unwrap_err(), @r#"
    engine.toml:4:15: the environment variable `LISTEN` is not set; set it, or write `${LISTEN:-default}`
    engine.toml:9:11: sinks.backend: `timeout`: `5` is not a duration, expected a duration such as "5s" or "100ms", from 10ms to 10m
    engine.toml:10:15: the environment variable `COMPRESSION` is not set; set it, or write `${COMPRESSION:-default}`
    "#);
    assert!(judged(Environment::Unknown).is_ok());
    assert_snapshot!(refused(text), @r#"
    engine.toml:4:15: sources.apps: `grpc.listen`: `${LISTEN}` is not an IP address and a port, expected an IP address and a port such as "127.0.0.1:4317" or "[::]:4317"; environment variables are replaced only where that is switched on
    engine.toml:8:12: sinks.backend: `endpoint`: `$` is not allowed in a host name, expected an address such as "http://host:4317" or "https://host:4317"; environment variables are replaced only where that is switched on
    engine.toml:9:11: sinks.backend: `timeout`: `${TIMEOUT}` is not a duration, expected a duration such as "5s" or "100ms", from 10ms to 10m; environment variables are replaced only where that is switched on
    engine.toml:10:15: sinks.backend: `compression` is the string "${COMPRESSION}", expected "none", "gzip", "zstd" or "snappy"; environment variables are replaced only where that is switched on
    "#);
}
