//! What the schemas accept, refuse and complete: every rule both ways.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use telemetry_manager::crd::{LogPipeline, MetricPipeline, Telemetry, TracePipeline};
use telemetry_manager::manifests;

use crate::{Keeping, apply, client, object, objects};

/// A kind, a spec, and what the refusal says; nothing where it is accepted.
type Case = (&'static str, Value, Option<&'static str>);

/// Tries every case and names all that go another way, here or where `telemetry-manager validate` judges them.
async fn check(cases: Vec<Case>) {
    let Some(client) = client().await else { return };
    let mut findings = Vec::new();
    for (kind, spec, expected) in cases {
        let offline = manifests::judge(kind, &object(kind, "tried", spec.clone()));
        if offline.is_empty() != expected.is_none() {
            findings.push(format!("{kind} {spec}\n  without an API server: {offline:?}"));
        }
        let tried = apply(&client, &object(kind, "tried", spec.clone()), Keeping::Nothing).await;
        let is_right = match (&tried, expected) {
            (Ok(_), None) => true,
            (Err(message), Some(expected)) => message.contains(expected),
            _ => false,
        };
        if !is_right {
            let found = tried.map_or_else(|message| message, |_| "accepted".to_owned());
            findings.push(format!("{kind} {spec}\n  expected: {}\n  found: {found}", expected.unwrap_or("accepted")));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn reference() -> Value {
    json!({ "valueFrom": { "secretKeyRef": { "name": "backend", "namespace": "shop", "key": "token" } } })
}

fn endpoint() -> Value {
    json!({ "value": "otlp.example.com:4317" })
}

/// The spec of a pipeline with an OTLP output that also has what is given.
fn otlp(more: Value) -> Value {
    let mut output = json!({ "endpoint": endpoint() });
    merge(&mut output, more);
    json!({ "output": { "otlp": output } })
}

/// The spec of a log pipeline with an output that works and with what is given.
fn log(more: Value) -> Value {
    let mut spec = otlp(json!({}));
    merge(&mut spec, more);
    spec
}

/// The spec of a log pipeline of Fluent Bit with what is given.
fn fluent_bit(more: Value) -> Value {
    let mut spec = json!({ "output": { "http": { "host": endpoint() } } });
    merge(&mut spec, more);
    spec
}

fn merge(into: &mut Value, more: Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// Values and references, wherever they stand: at most one of them, and one where one is needed.
#[tokio::test]
async fn values_and_references() {
    const ONE: Option<&str> = Some("Only one of 'value' or 'valueFrom' can be set");
    let both = || json!({ "value": "a", "valueFrom": reference()["valueFrom"] });
    let reference_with = |key: &str, value: Value| {
        let mut spec = otlp(json!({ "endpoint": reference() }));
        spec["output"]["otlp"]["endpoint"]["valueFrom"]["secretKeyRef"][key] = value;
        spec
    };
    let without_key = || {
        let mut spec = otlp(json!({ "endpoint": reference() }));
        spec["output"]["otlp"]["endpoint"]["valueFrom"]["secretKeyRef"].as_object_mut().unwrap().remove("key");
        spec
    };
    check(vec![
        ("TracePipeline", otlp(json!({})), None),
        ("TracePipeline", otlp(json!({ "endpoint": reference() })), None),
        ("TracePipeline", otlp(json!({ "endpoint": { "value": "" } })), None),
        ("TracePipeline", otlp(json!({ "endpoint": both() })), ONE),
        ("TracePipeline", otlp(json!({ "endpoint": {} })), Some("'endpoint' must have 'value' or 'valueFrom' set")),
        ("TracePipeline", json!({ "output": { "otlp": {} } }), Some("spec.output.otlp.endpoint: Required value")),
        ("TracePipeline", json!({ "output": {} }), Some("spec.output.otlp: Required value")),
        ("TracePipeline", json!({}), Some("spec.output: Required value")),
        ("TracePipeline", otlp(json!({ "endpoint": { "valueFrom": {} } })), Some("secretKeyRef: Required value")),
        ("TracePipeline", reference_with("name", json!("")), Some("secretKeyRef.name: Invalid value")),
        ("TracePipeline", reference_with("namespace", json!("")), Some("secretKeyRef.namespace: Invalid value")),
        ("TracePipeline", reference_with("key", json!("")), Some("secretKeyRef.key: Invalid value")),
        ("TracePipeline", without_key(), Some("secretKeyRef.key: Required value")),
        ("MetricPipeline", otlp(json!({ "endpoint": both() })), ONE),
        ("MetricPipeline", otlp(json!({ "endpoint": {} })), Some("'endpoint' must have 'value' or 'valueFrom' set")),
        ("LogPipeline", otlp(json!({ "endpoint": both() })), ONE),
        ("TracePipeline", otlp(json!({ "tls": { "ca": both() } })), ONE),
        ("TracePipeline", otlp(json!({ "headers": [{ "name": "a", "value": "b", "prefix": "c" }] })), None),
        ("TracePipeline", otlp(json!({ "headers": [{ "name": "a", "valueFrom": reference()["valueFrom"] }] })), None),
        (
            "TracePipeline",
            otlp(json!({ "headers": [{ "name": "a", "value": "b", "valueFrom": reference()["valueFrom"] }] })),
            ONE,
        ),
        (
            "TracePipeline",
            otlp(json!({ "headers": [{ "name": "a" }] })),
            Some("Header must have 'value' or 'valueFrom' set"),
        ),
        ("TracePipeline", otlp(json!({ "headers": [{ "name": "", "value": "b" }] })), Some("headers[0].name")),
        ("TracePipeline", otlp(json!({ "headers": [{ "value": "b" }] })), Some("headers[0].name: Required value")),
    ])
    .await;
}

/// An OTLP output: protocol, path, compression, encryption.
#[tokio::test]
async fn otlp_outputs() {
    const PATH: Option<&str> = Some("Path is only available with HTTP protocol");
    const PAIR: Option<&str> = Some("Can define either both 'cert' and 'key', or neither");
    let mut cases = vec![
        ("TracePipeline", otlp(json!({ "protocol": "grpc" })), None),
        ("TracePipeline", otlp(json!({ "protocol": "udp" })), Some("supported values: \"grpc\", \"http\"")),
        ("TracePipeline", otlp(json!({ "protocol": "http", "path": "/otlp" })), None),
        ("TracePipeline", otlp(json!({ "protocol": "grpc", "path": "" })), None),
        ("TracePipeline", otlp(json!({ "path": "/otlp" })), PATH),
        ("MetricPipeline", otlp(json!({ "path": "/otlp" })), PATH),
        ("LogPipeline", otlp(json!({ "path": "/otlp" })), PATH),
        ("TracePipeline", otlp(json!({ "compression": "lz4" })), Some("spec.output.otlp.compression")),
        ("TracePipeline", otlp(json!({ "tls": { "insecure": true, "insecureSkipVerify": true } })), None),
        ("TracePipeline", otlp(json!({ "tls": { "cert": reference(), "key": reference() } })), None),
        ("TracePipeline", otlp(json!({ "tls": { "cert": reference() } })), PAIR),
        ("TracePipeline", otlp(json!({ "tls": { "key": reference() } })), PAIR),
        ("MetricPipeline", otlp(json!({ "temporality": "preserve" })), None),
        ("MetricPipeline", otlp(json!({ "temporality": "delta" })), None),
        ("MetricPipeline", otlp(json!({ "temporality": "cumulative" })), Some("spec.output.otlp.temporality")),
        ("TracePipeline", otlp(json!({ "temporality": "delta" })), Some("spec.output.otlp.temporality")),
    ];
    for compression in ["none", "gzip", "snappy", "zstd"] {
        cases.push(("TracePipeline", otlp(json!({ "compression": compression })), None));
    }
    check(cases).await;
}

/// Ways to say who we are: at most one, complete, and not in the clear.
#[tokio::test]
async fn authentication() {
    let with = |authentication: Value| otlp(json!({ "authentication": authentication }));
    let basic = || json!({ "user": { "value": "a" }, "password": reference() });
    let oauth2 = || {
        json!({
            "tokenURL": { "value": "https://login.example.com/token" }, "clientID": { "value": "a" },
            "clientSecret": reference(), "scopes": ["write"], "params": { "audience": "b" },
        })
    };
    let oauth2_with = |key: &str, value: Value| {
        let mut oauth2 = oauth2();
        oauth2[key] = value;
        with(json!({ "oauth2": oauth2 }))
    };
    let in_the_clear = |protocol: &str, insecure: bool| {
        otlp(json!({ "protocol": protocol, "authentication": { "oauth2": oauth2() }, "tls": { "insecure": insecure } }))
    };
    let no_user = json!({ "basic": { "user": {}, "password": reference() } });
    let no_password = json!({ "basic": { "user": reference(), "password": {} } });
    check(vec![
        ("TracePipeline", with(json!({ "basic": basic() })), None),
        ("TracePipeline", with(json!({ "oauth2": oauth2() })), None),
        ("TracePipeline", with(json!({})), None),
        (
            "TracePipeline",
            with(json!({ "basic": basic(), "oauth2": oauth2() })),
            Some("Only one authentication method can be specified"),
        ),
        ("TracePipeline", with(no_user), Some("'user' must have 'value' or 'valueFrom' set")),
        ("TracePipeline", with(no_password), Some("'password' must have 'value' or 'valueFrom' set")),
        ("TracePipeline", with(json!({ "basic": { "user": reference() } })), Some("basic.password: Required value")),
        ("TracePipeline", oauth2_with("tokenURL", reference()), None),
        (
            "TracePipeline",
            oauth2_with("tokenURL", json!({ "value": "nowhere" })),
            Some("'tokenURL' must be a valid URL"),
        ),
        ("TracePipeline", oauth2_with("tokenURL", json!({})), Some("'tokenURL' must have 'value' or 'valueFrom' set")),
        ("TracePipeline", oauth2_with("clientID", json!({})), Some("'clientID' must have 'value' or 'valueFrom' set")),
        (
            "TracePipeline",
            oauth2_with("clientSecret", json!({})),
            Some("'clientSecret' must have 'value' or 'valueFrom' set"),
        ),
        (
            "TracePipeline",
            in_the_clear("grpc", true),
            Some("OAuth2 authentication requires TLS when using gRPC protocol"),
        ),
        ("TracePipeline", in_the_clear("grpc", false), None),
        ("TracePipeline", in_the_clear("http", true), None),
    ])
    .await;
}

/// Inputs: names of namespaces, and lists that exclude each other.
#[tokio::test]
async fn inputs() {
    const ONE: Option<&str> = Some("Only one of 'include' or 'exclude' can be defined");
    let both = || json!({ "include": ["a"], "exclude": ["b"] });
    let log_input = |input: Value| log(json!({ "input": input }));
    let include = |name: &str| log_input(json!({ "runtime": { "namespaces": { "include": [name] } } }));
    let mut cases = vec![
        ("LogPipeline", log_input(json!({})), None),
        ("LogPipeline", log_input(json!({ "runtime": { "namespaces": {}, "containers": {} } })), None),
        ("LogPipeline", log_input(json!({ "runtime": { "namespaces": { "exclude": ["a-1"] } } })), None),
        ("LogPipeline", include("shop"), None),
        ("LogPipeline", log_input(json!({ "runtime": { "containers": null } })), Some("must be of type object")),
        ("LogPipeline", include(&"a".repeat(63)), None),
        ("LogPipeline", include(&"a".repeat(64)), Some("namespaces.include[0]")),
        ("LogPipeline", include("Shop"), Some("namespaces.include[0]")),
        ("LogPipeline", include("shop-"), Some("namespaces.include[0]")),
        ("LogPipeline", log_input(json!({ "runtime": { "namespaces": both() } })), ONE),
        ("LogPipeline", log_input(json!({ "runtime": { "containers": both() } })), ONE),
        ("LogPipeline", log_input(json!({ "otlp": { "namespaces": both() } })), ONE),
        ("LogPipeline", log_input(json!({ "otlp": { "enabled": false }, "runtime": { "enabled": false } })), None),
        ("TracePipeline", log_input(json!({})), Some(".spec.input: field not declared in schema")),
    ];
    for input in ["runtime", "prometheus", "istio", "otlp"] {
        let with = |value: Value| {
            let mut spec = otlp(json!({}));
            spec["input"][input] = value;
            spec
        };
        cases.push(("MetricPipeline", with(json!({ "enabled": true, "namespaces": { "exclude": ["a"] } })), None));
        cases.push(("MetricPipeline", with(json!({ "enabled": true, "namespaces": both() })), ONE));
        cases.push(("MetricPipeline", with(json!({ "namespaces": { "exclude": ["A"] } })), Some("exclude[0]")));
    }
    check(cases).await;
}

/// What a log pipeline may have with which output, and that it has exactly one.
#[tokio::test]
async fn outputs_of_logs() {
    const ONE: Option<&str> = Some("Exactly one output out of 'custom', 'http' or 'otlp' must be defined");
    let http = |more: Value| {
        let mut output = json!({ "host": endpoint() });
        merge(&mut output, more);
        json!({ "output": { "http": output } })
    };
    let runtime = |key: &str| json!({ "input": { "runtime": { key: false } } });
    check(vec![
        ("LogPipeline", json!({ "output": {} }), ONE),
        ("LogPipeline", json!({ "output": { "http": { "host": endpoint() }, "custom": "name stdout" } }), ONE),
        ("LogPipeline", json!({ "output": { "custom": "name stdout" } }), None),
        ("LogPipeline", http(json!({ "uri": "/in", "port": "9880", "compress": "gzip", "format": "json" })), None),
        ("LogPipeline", http(json!({ "user": endpoint(), "password": reference(), "dedot": true, "tls": {} })), None),
        ("LogPipeline", http(json!({ "uri": "in" })), Some("spec.output.http.uri")),
        ("LogPipeline", http(json!({ "host": {} })), Some("'host' must have 'value' or 'valueFrom' set")),
        ("LogPipeline", fluent_bit(runtime("dropLabels")), None),
        ("LogPipeline", fluent_bit(runtime("keepAnnotations")), None),
        ("LogPipeline", log(runtime("dropLabels")), Some("input.runtime.dropLabels is not supported with otlp output")),
        (
            "LogPipeline",
            log(runtime("keepAnnotations")),
            Some("input.runtime.keepAnnotations is not supported with otlp output"),
        ),
        ("LogPipeline", fluent_bit(json!({ "filters": [{ "custom": "Name grep" }] })), None),
        (
            "LogPipeline",
            log(json!({ "filters": [{ "custom": "Name grep" }] })),
            Some("filters are not supported with otlp output"),
        ),
        ("LogPipeline", fluent_bit(json!({ "files": [{ "name": "a", "content": "b" }] })), None),
        ("LogPipeline", fluent_bit(json!({ "files": [{ "name": "", "content": "b" }] })), Some("files[0].name")),
        ("LogPipeline", fluent_bit(json!({ "files": [{ "name": "a", "content": "" }] })), Some("files[0].content")),
        (
            "LogPipeline",
            log(json!({ "files": [{ "name": "a", "content": "b" }] })),
            Some("files not supported with otlp output"),
        ),
        (
            "LogPipeline",
            fluent_bit(json!({ "variables": [{ "name": "a", "valueFrom": reference()["valueFrom"] }] })),
            None,
        ),
        (
            "LogPipeline",
            log(json!({ "variables": [{ "name": "a", "valueFrom": reference()["valueFrom"] }] })),
            Some("variables not supported with otlp output"),
        ),
        ("LogPipeline", log(json!({ "transform": [{ "statements": ["set(log.body, 1)"] }] })), None),
        ("LogPipeline", log(json!({ "filter": [{ "conditions": ["log.body == nil"] }] })), None),
        ("LogPipeline", fluent_bit(json!({ "transform": [{}] })), Some("transform is only supported with otlp output")),
        ("LogPipeline", fluent_bit(json!({ "filter": [{}] })), Some("filter is only supported with otlp output")),
        (
            "LogPipeline",
            fluent_bit(json!({ "input": { "otlp": {} } })),
            Some("otlp input is only supported with otlp output"),
        ),
    ])
    .await;
}

/// Buffers of log pipelines, and the volumes of those on disk. Other kinds have none.
#[tokio::test]
async fn buffers_and_volumes() {
    const LEAST: Option<&str> = Some("'maxSize' must be at least 1Mi, and at least 8Mi where 'type' is 'disk'");
    const SIZE: Option<&str> = Some("'size' must be at least 128Mi");
    let buffer = |buffer: Value| ("LogPipeline", otlp(json!({ "buffer": buffer })));
    let storage = |storage: Value| ("Telemetry", json!({ "storage": storage }));
    let cases = [
        (buffer(json!({})), None),
        (buffer(json!({ "type": "memory" })), None),
        (buffer(json!({ "type": "disk" })), None),
        (buffer(json!({ "type": "tape" })), Some("buffer.type")),
        (buffer(json!({ "maxSize": "1Mi" })), None),
        (buffer(json!({ "maxSize": 1_048_576 })), None),
        (buffer(json!({ "maxSize": "1023Ki" })), LEAST),
        (buffer(json!({ "type": "disk", "maxSize": "8Mi" })), None),
        (buffer(json!({ "type": "disk", "maxSize": "7Mi" })), LEAST),
        (buffer(json!({ "type": "disk", "maxSize": "-1" })), Some("buffer.maxSize")),
        (buffer(json!({ "type": "disk", "maxSize": "much" })), Some("buffer.maxSize")),
        (buffer(json!({ "type": "disk", "maxSize": "65Ti" })), Some("'maxSize' must be at most 64Ti")),
        (buffer(json!({ "type": "disk", "maxAge": "24h" })), None),
        (buffer(json!({ "type": "disk", "maxAge": "1h30m" })), None),
        (buffer(json!({ "type": "disk", "maxAge": "999ms" })), Some("'maxAge' must be at least 1s")),
        (buffer(json!({ "type": "disk", "maxAge": "1 day" })), Some("buffer.maxAge")),
        (buffer(json!({ "maxAge": "24h" })), Some("'maxAge' needs 'type' to be 'disk'")),
        (("MetricPipeline", otlp(json!({ "buffer": {} }))), Some("buffer")),
        (("TracePipeline", otlp(json!({ "buffer": {} }))), Some("buffer")),
        (storage(json!({})), None),
        (storage(json!({ "class": "fast", "size": "20Gi" })), None),
        (storage(json!({ "size": "128Mi" })), None),
        (storage(json!({ "size": "127Mi" })), SIZE),
        (storage(json!({ "size": "2000Ti" })), SIZE),
        (storage(json!({ "class": "" })), Some("storage.class")),
        (storage(json!({ "class": "Not_A_Class" })), Some("storage.class")),
    ];
    check(cases.into_iter().map(|((kind, spec), expected)| (kind, spec, expected)).collect()).await;
}

/// The settings of the module.
#[tokio::test]
async fn module_settings() {
    const POSITIVE: Option<&str> = Some("'collectionInterval' must be greater than 0");
    const LABEL: Option<&str> = Some("Either 'key' or 'keyPrefix' must be specified");
    let scaling = |scaling: Value| json!({ "log": { "gateway": { "scaling": scaling } } });
    let resources = |resources: Value| json!({ "trace": { "gateway": { "resources": resources } } });
    let interval = |interval: &str| json!({ "metric": { "collectionInterval": interval } });
    let of_input = |input: &str, interval: &str| json!({ "metric": { input: { "collectionInterval": interval } } });
    let labels = |label: Value| json!({ "enrichments": { "extractPodLabels": [label] } });
    let toleration = |toleration: Value| json!({ "log": { "agent": { "tolerations": [toleration] } } });
    let auto = |least: i32, most: i32| json!({ "type": "Auto", "auto": { "minReplicas": least, "maxReplicas": most } });
    let mut cases = vec![
        ("Telemetry", json!({}), None),
        ("Telemetry", scaling(json!({})), None),
        ("Telemetry", scaling(json!({ "type": "Static" })), None),
        ("Telemetry", scaling(json!({ "type": "Static", "static": {} })), None),
        ("Telemetry", scaling(json!({ "static": { "replicas": 1 } })), None),
        ("Telemetry", scaling(json!({ "static": { "replicas": 0 } })), Some("static.replicas")),
        ("Telemetry", scaling(json!({ "static": { "replicas": 1001 } })), Some("static.replicas")),
        ("Telemetry", scaling(json!({ "type": "Dynamic" })), Some("scaling.type")),
        ("Telemetry", scaling(auto(2, 2)), None),
        ("Telemetry", scaling(auto(3, 2)), Some("'minReplicas' must not be greater than 'maxReplicas'")),
        ("Telemetry", scaling(auto(0, 2)), Some("auto.minReplicas")),
        ("Telemetry", scaling(json!({ "type": "Auto" })), Some("'type' 'Auto' needs 'auto' to be set")),
        (
            "Telemetry",
            scaling(json!({ "auto": { "minReplicas": 1, "maxReplicas": 2 } })),
            Some("'auto' needs 'type' to be 'Auto'"),
        ),
        (
            "Telemetry",
            scaling(json!({ "type": "Auto", "auto": { "minReplicas": 1, "maxReplicas": 2 }, "static": {} })),
            Some("'static' cannot be set when 'type' is 'Auto'"),
        ),
        (
            "Telemetry",
            resources(json!({ "requests": { "cpu": 1, "memory": "1Gi" }, "limits": { "cpu": "1500m" } })),
            None,
        ),
        ("Telemetry", resources(json!({ "requests": { "cpu": "1" }, "limits": { "cpu": 1 } })), None),
        (
            "Telemetry",
            resources(json!({ "requests": { "cpu": 2 }, "limits": { "cpu": "1500m" } })),
            Some("'requests.cpu' must not be greater than 'limits.cpu'"),
        ),
        ("Telemetry", resources(json!({ "requests": { "memory": "1G" }, "limits": { "memory": "1Gi" } })), None),
        (
            "Telemetry",
            resources(json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "1G" } })),
            Some("'requests.memory' must not be greater than 'limits.memory'"),
        ),
        ("Telemetry", resources(json!({ "limits": { "memory": "much" } })), Some("limits.memory")),
        ("Telemetry", resources(json!({ "limits": { "memory": "-1Gi" } })), Some("limits.memory")),
        ("Telemetry", resources(json!({ "limits": { "disk": "1Gi" } })), Some("field not declared in schema")),
        ("Telemetry", interval("30s"), None),
        ("Telemetry", interval("1h1m1.5s"), None),
        ("Telemetry", interval("0s"), POSITIVE),
        ("Telemetry", interval("-5s"), POSITIVE),
        ("Telemetry", interval("1 day"), Some("metric.collectionInterval")),
        ("Telemetry", interval("soon"), Some("metric.collectionInterval")),
        ("Telemetry", labels(json!({ "key": "app" })), None),
        ("Telemetry", labels(json!({ "keyPrefix": "app.kubernetes.io/" })), None),
        ("Telemetry", labels(json!({})), LABEL),
        ("Telemetry", labels(json!({ "key": "a", "keyPrefix": "b" })), LABEL),
        ("Telemetry", json!({ "enrichments": { "cluster": { "name": "prod-eu" } } }), None),
        ("Telemetry", json!({ "secrets": { "namespaces": [] } }), None),
        ("Telemetry", json!({ "secrets": { "namespaces": ["shop", "pay"] } }), None),
        ("Telemetry", json!({ "secrets": { "namespaces": ["Shop"] } }), Some("secrets.namespaces[0]")),
        ("Telemetry", json!({ "secrets": { "namespaces": ["shop", "shop"] } }), Some("duplicate")),
        ("Telemetry", json!({ "log": { "agent": { "priorityClassName": "critical", "resources": {} } } }), None),
        ("Telemetry", json!({ "metric": { "agent": {} } }), Some("field not declared in schema")),
        ("Telemetry", toleration(json!({ "operator": "Exists", "effect": "NoSchedule" })), None),
        ("Telemetry", toleration(json!({ "key": "a", "value": "b", "tolerationSeconds": 5 })), None),
        (
            "Telemetry",
            toleration(json!({ "operator": "Any" })),
            Some("'operator' of a toleration must be 'Exists' or 'Equal'"),
        ),
        (
            "Telemetry",
            toleration(json!({ "effect": "Never" })),
            Some("'effect' of a toleration must be 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'"),
        ),
    ];
    for input in ["runtime", "prometheus", "istio"] {
        cases.push(("Telemetry", of_input(input, "1m"), None));
        cases.push(("Telemetry", of_input(input, "0s"), POSITIVE));
    }
    check(cases).await;
}

/// Whether the output is OTLP is decided once; anything else of a pipeline can be changed.
#[tokio::test]
async fn the_kind_of_output_is_for_ever() {
    const FOR_EVER: &str =
        "Switching to or away from OTLP output is not supported. Please re-create the LogPipeline instead";
    let Some(client) = client().await else { return };
    let changes = [
        ("to-otlp", fluent_bit(json!({})), log(json!({})), false),
        ("from-otlp", log(json!({})), fluent_bit(json!({})), false),
        ("between", fluent_bit(json!({})), json!({ "output": { "custom": "name stdout" } }), true),
        ("otlp", log(json!({})), otlp(json!({ "endpoint": reference(), "protocol": "http" })), true),
    ];
    for (name, before, after, is_accepted) in changes {
        let name = format!("for-ever-{name}");
        apply(&client, &object("LogPipeline", &name, before), Keeping::Object).await.unwrap();
        let changed = apply(&client, &object("LogPipeline", &name, after), Keeping::Object).await;
        objects(&client, "LogPipeline").delete(&name, &DeleteParams::default()).await.unwrap();
        match changed {
            Ok(_) => assert!(is_accepted, "{name} was accepted"),
            Err(message) => assert!(!is_accepted && message.contains(FOR_EVER), "{name}: {message}"),
        }
    }
}

/// What the API server adds to an object: defaults that depend on nothing, and no others. What it gives is read as it is.
#[tokio::test]
async fn defaults_are_added() {
    let Some(client) = client().await else { return };
    let with_inputs = otlp(json!({}));
    let cases = [
        (
            "LogPipeline",
            log(json!({ "input": { "runtime": {}, "otlp": {} } })),
            json!({
                "input": { "runtime": { "enabled": true, "keepOriginalBody": true }, "otlp": { "enabled": true } },
                "output": { "otlp": { "protocol": "grpc", "endpoint": endpoint() } },
            }),
        ),
        (
            "LogPipeline",
            log(json!({ "input": { "runtime": { "namespaces": {}, "enabled": null } } })),
            json!({
                "input": { "runtime": { "enabled": true, "keepOriginalBody": true, "namespaces": {} } },
                "output": { "otlp": { "protocol": "grpc", "endpoint": endpoint() } },
            }),
        ),
        (
            "LogPipeline",
            json!({ "output": { "custom": "name stdout" } }),
            json!({ "input": {}, "output": { "custom": "name stdout" } }),
        ),
        (
            "LogPipeline",
            otlp(json!({ "buffer": { "maxSize": "32Mi" } })),
            json!({
                "input": {},
                "output": { "otlp": {
                    "protocol": "grpc", "endpoint": endpoint(), "buffer": { "type": "memory", "maxSize": "32Mi" },
                } },
            }),
        ),
        (
            "MetricPipeline",
            with_inputs.clone(),
            json!({
                "input": {},
                "output": { "otlp": { "protocol": "grpc", "temporality": "preserve", "endpoint": endpoint() } },
            }),
        ),
        (
            "MetricPipeline",
            {
                let mut spec = with_inputs.clone();
                spec["input"] =
                    json!({ "runtime": { "enabled": true, "resources": {} }, "prometheus": {}, "otlp": {} });
                spec
            },
            json!({
                "input": { "runtime": { "enabled": true, "resources": {} }, "prometheus": {}, "otlp": { "enabled": true } },
                "output": { "otlp": { "protocol": "grpc", "temporality": "preserve", "endpoint": endpoint() } },
            }),
        ),
        ("TracePipeline", with_inputs, json!({ "output": { "otlp": { "protocol": "grpc", "endpoint": endpoint() } } })),
        ("Telemetry", json!({ "metric": { "gateway": {} } }), json!({ "metric": { "gateway": {} } })),
    ];
    for (kind, spec, expected) in cases {
        let made = apply(&client, &object(kind, "tried", spec), Keeping::Nothing).await.unwrap();
        assert_eq!(made.data["spec"], expected, "{kind}");
        assert_eq!(read(kind, &made), expected, "{kind} as it is read and written again");
    }
    let mut bare = object("Telemetry", "tried", json!({}));
    bare.as_object_mut().unwrap().remove("spec");
    let made = apply(&client, &bare, Keeping::Nothing).await.unwrap();
    assert_eq!(read("Telemetry", &made), json!({}), "a Telemetry without a spec");
}

/// What the manager reports is kept as it is; a state that is none is refused, and so is a field that a kind does not have.
#[tokio::test]
async fn reports_are_kept() {
    let Some(client) = client().await else { return };
    let condition = json!({
        "type": "GatewayHealthy", "status": "True", "reason": "GatewayReady", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let flow = json!({
        "accepted": 12, "delivered": 9, "dropped": { "rejected": 1 }, "held": 2, "reportedAt": "2026-01-01T00:00:00Z",
        "pods": { "reporting": 1, "total": 2 },
    });
    let buffer = json!({ "used": "12Mi", "max": "2Gi", "pods": { "reporting": 1, "total": 2 } });
    let storage = json!({
        "leftOverClaims": [{ "name": "state-telemetry-log-gateway-1", "size": "2Gi" }],
        "leftOverBuffers": [{ "uid": "a-uid", "used": "1Mi", "records": 3, "pods": ["telemetry-log-gateway-0"] }],
    });
    let endpoints = json!({ "traces": { "grpc": "http://a.b:4317", "http": "http://a.b:4318" } });
    let cases = [
        (
            "LogPipeline",
            log(json!({})),
            json!({ "conditions": [condition], "unsupportedMode": false, "flow": flow, "buffer": buffer }),
        ),
        ("MetricPipeline", otlp(json!({})), json!({ "conditions": [condition], "flow": flow })),
        (
            "TracePipeline",
            otlp(json!({})),
            json!({ "conditions": [condition], "flow": { "accepted": 0, "delivered": 0, "held": 0 } }),
        ),
        (
            "Telemetry",
            json!({}),
            json!({ "state": "Ready", "conditions": [condition], "endpoints": endpoints, "storage": storage }),
        ),
    ];
    for (kind, spec, status) in cases {
        let name = "reported";
        let made = object(kind, name, spec);
        apply(&client, &made, Keeping::Object).await.unwrap();
        let mut reported = made.clone();
        reported["status"] = status.clone();
        reported.as_object_mut().unwrap().remove("spec");
        let parameters = PatchParams::apply("telemetry-manager").force();
        let api = objects(&client, kind);
        let kept = api.patch_status(name, &parameters, &Patch::Apply(&reported)).await.unwrap();
        let mut wrong = reported.clone();
        wrong["status"]["state"] = "Fine".into();
        let refused = api.patch_status(name, &parameters, &Patch::Apply(&wrong)).await;
        api.delete(name, &DeleteParams::default()).await.unwrap();
        assert_eq!(kept.data["status"], status, "{kind}");
        let read = match kind {
            "LogPipeline" => serde_json::to_value(kept.try_parse::<LogPipeline>().unwrap().status),
            "MetricPipeline" => serde_json::to_value(kept.try_parse::<MetricPipeline>().unwrap().status),
            "TracePipeline" => serde_json::to_value(kept.try_parse::<TracePipeline>().unwrap().status),
            _ => serde_json::to_value(kept.try_parse::<Telemetry>().unwrap().status),
        };
        assert_eq!(read.unwrap(), status, "{kind}");
        let expected = if kind == "Telemetry" { "Unsupported value: \"Fine\"" } else { "field not declared in schema" };
        assert!(refused.unwrap_err().to_string().contains(expected), "{kind}");
    }
}

/// Reads an object by its type and returns the spec as the type writes it.
fn read(kind: &str, made: &DynamicObject) -> Value {
    let made = made.clone();
    let written = match kind {
        "LogPipeline" => serde_json::to_value(made.try_parse::<LogPipeline>().unwrap().spec),
        "MetricPipeline" => serde_json::to_value(made.try_parse::<MetricPipeline>().unwrap().spec),
        "TracePipeline" => serde_json::to_value(made.try_parse::<TracePipeline>().unwrap().spec),
        _ => serde_json::to_value(made.try_parse::<Telemetry>().unwrap().spec),
    };
    written.unwrap()
}
