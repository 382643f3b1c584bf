//! Configurations built from types, written as TOML and read back.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::{HeaderValue, SecretHeader};
use engine_config::sources::OtlpSource;
use engine_config::transforms::{Resource, Select};
use engine_config::{
    Acknowledge, AttributeValue, BatchOptions, BufferOptions, ByteSize, Catalog, Component, ComponentId, Environment,
    MatchValue, ParseOptions, Pipeline, REDACTED, SecretRef, SensitiveText, Settings, SignalSet, SinkKeys, SourceFile,
    Span, WhenFull, parse, plan,
};
use insta::assert_snapshot;
use proptest::prelude::*;

use crate::{CATALOG, accepted, samples};

fn built() -> Pipeline {
    let mut settings = Settings::default();
    settings.engine.role = Some("log-gateway".to_owned());
    let mut pipeline = Pipeline::new(settings);
    let id = |text: &str| ComponentId::new(text).unwrap();
    pipeline.insert(id("apps"), Component::source(OtlpSource::default())).unwrap();
    let names = [MatchValue::String("shop".to_owned()), MatchValue::String("pay".to_owned())];
    let keep = BTreeMap::from([("k8s.namespace.name".to_owned(), names.into())]);
    let select = Select { keep: Some(keep), ..Select::default() };
    pipeline.insert(id("shop.select"), Component::transform(select, &["apps"]).unwrap()).unwrap();
    let mut options = OtlpSink::new("https://otlp.example.com:4317".parse().unwrap());
    let secret = SecretRef::File("/etc/telemetry/token".into());
    let token = HeaderValue::Secret(SecretHeader { secret, prefix: Some("Bearer".to_owned()) });
    options.headers.insert("authorization".to_owned(), token);
    options.headers.insert("x-tenant".to_owned(), HeaderValue::Plain(SensitiveText::new("hunter2")));
    let keys = SinkKeys {
        pipeline: Some("shop".to_owned()),
        buffer: BufferOptions {
            max_size: Some(ByteSize::mib(64)),
            when_full: Some(WhenFull::Refuse),
            ..BufferOptions::default()
        },
        ..SinkKeys::default()
    };
    pipeline.insert(id("shop"), Component::sink(options, &["shop.select"], keys).unwrap()).unwrap();
    pipeline
}

fn read_back(text: &str) -> Pipeline {
    let files = [SourceFile::new("rendered.toml", text)];
    let parsed = parse(&files, &CATALOG, &Environment::Unknown, &ParseOptions::default());
    parsed.unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

/// What the operator writes is short, stable, and reads back as what was built.
#[test]
fn a_built_pipeline_reads_back() {
    let pipeline = built();
    let text = pipeline.to_toml(&CATALOG);
    assert_eq!(read_back(&text), pipeline);
    assert_eq!(built().to_toml(&CATALOG), text);
    assert!(plan(&pipeline, &CATALOG, &Environment::Unknown).is_ok());
    assert_snapshot!(text, @r#"
    version = 1

    [engine]
    role = "log-gateway"

    [sources.apps]
    type = "otlp"

    [transforms."shop.select"]
    type = "select"
    inputs = ["apps"]

    [transforms."shop.select".keep]
    "k8s.namespace.name" = [
        "pay",
        "shop",
    ]

    [sinks.shop]
    type = "otlp"
    inputs = ["shop.select"]
    endpoint = "https://otlp.example.com:4317"
    pipeline = "shop"

    [sinks.shop.headers]
    x-tenant = "hunter2"

    [sinks.shop.headers.authorization]
    secret = "file:/etc/telemetry/token"
    prefix = "Bearer"

    [sinks.shop.buffer]
    max_size = "64MiB"
    when_full = "refuse"
    "#);
}

/// A written key stays even where the sink type has the same default: with `delivered` its absence means no wait.
#[test]
fn written_sink_keys_stay() {
    let mut pipeline = Pipeline::new(Settings::default());
    let batch = BatchOptions { timeout: Some(Span::millis(200)), ..BatchOptions::default() };
    let keys = SinkKeys { batch, acknowledge: Acknowledge::Delivered, ..SinkKeys::default() };
    let sink = OtlpSink::new("http://localhost:4317".parse().unwrap());
    pipeline.insert(ComponentId::new("b").unwrap(), Component::sink(sink, &["a"], keys).unwrap()).unwrap();
    let text = pipeline.to_toml(&CATALOG);
    assert!(text.contains("timeout = \"200ms\""), "{text}");
    assert_eq!(read_back(&text), pipeline);
}

/// An id is given once, and the components stay as they were.
#[test]
fn an_id_is_taken_once() {
    let mut pipeline = built();
    let before = pipeline.clone();
    let again = Component::source(OtlpSource::default());
    assert_eq!(
        pipeline.insert(ComponentId::new("shop").unwrap(), again).unwrap_err().to_string(),
        "the id `shop` is taken already"
    );
    assert_eq!(pipeline, before);
}

/// Problems of a pipeline that was never in a file name the component.
#[test]
fn problems_of_a_built_pipeline() {
    let mut pipeline = built();
    let select = Component::transform(Select::default(), &["nobody"]).unwrap();
    pipeline.insert(ComponentId::new("wrong").unwrap(), select).unwrap();
    let problems = plan(&pipeline, &CATALOG, &Environment::Unknown).unwrap_err();
    assert_snapshot!(problems, @r#"
    transforms.wrong: nothing is selected, expected one of `keep` and `drop`; for example `keep = { "k8s.namespace.name" = ["shop"] }`
    transforms.wrong: there is no source or transform `nobody`; known are apps, shop.select
    "#);
    let problems = plan(&built(), &Catalog::empty(), &Environment::Unknown).unwrap_err();
    assert_snapshot!(problems, @r#"
    sources.apps: there is no source `otlp`
    sinks.shop: there is no sink `otlp`
    transforms.shop.select: there is no transform `select`
    "#);
}

/// Printing shows every default and no header value; references to secrets stay.
#[test]
fn printing_redacts() {
    let printed = built().to_toml_redacted(&CATALOG);
    assert!(!printed.contains("hunter2"));
    assert!(printed.contains(&format!("x-tenant = \"{REDACTED}\"")), "{printed}");
    assert!(printed.contains("file:/etc/telemetry/token"));
    assert!(printed.contains("timeout = \"10s\"") && printed.contains("grace = \"30s\""));
    assert!(!format!("{:?}", built()).contains("hunter2"));
    assert_eq!(read_back(&printed).components().len(), 3);
    let parsed = read_back(&built().to_toml(&CATALOG));
    assert!(!format!("{parsed:?}").contains("hunter2"), "a pipeline that was read tells no more");
}

/// Every sample survives being written and read again, with and without defaults.
#[test]
fn samples_read_back() {
    for (name, text) in samples() {
        let pipeline = accepted(&text).pipeline;
        assert_eq!(read_back(&pipeline.to_toml(&CATALOG)), pipeline, "{name}");
        let is_sensitive = text.contains("headers") || text.contains("parameters");
        let printed = read_back(&pipeline.to_toml_redacted(&CATALOG));
        assert!(is_sensitive || printed == pipeline, "{name}");
    }
}

/// Texts with everything that could break out of a string.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![".{1,20}", "[\"'\\\\\n\r\t\u{0}\u{7f}#=\\[\\]{}.$ a-z]{1,12}"]
}

fn any_value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any_text().prop_map(AttributeValue::String),
        any::<bool>().prop_map(AttributeValue::Bool),
        any::<i64>().prop_map(AttributeValue::Int),
        prop::num::f64::NORMAL.prop_map(AttributeValue::Float),
    ]
}

fn any_condition() -> impl Strategy<Value = BTreeMap<String, BTreeSet<MatchValue>>> {
    let value = prop_oneof![
        any_text().prop_map(MatchValue::String),
        any::<bool>().prop_map(MatchValue::Bool),
        any::<i64>().prop_map(MatchValue::Int),
    ];
    prop::collection::btree_map(any_text(), prop::collection::btree_set(value, 1..4), 1..4)
}

fn any_keys() -> impl Strategy<Value = SinkKeys> {
    (any::<Option<u32>>(), any::<Option<u16>>(), prop::option::of(1u64..5_000), prop::option::of("[^\u{0}]{1,30}"))
        .prop_map(|(buffer, records, timeout, pipeline)| SinkKeys {
            pipeline,
            buffer: BufferOptions {
                max_size: buffer.map(|size| ByteSize(u64::from(size) + (64 << 10))),
                ..BufferOptions::default()
            },
            batch: BatchOptions {
                max_records: records.and_then(|records| NonZeroU64::new(records.into())),
                timeout: timeout.map(Span::millis),
                ..BatchOptions::default()
            },
            ..SinkKeys::default()
        })
}

proptest! {
    /// Whatever a name or value holds, it comes back as it was and nothing else does.
    #[test]
    fn built_pipelines_read_back(
        insert in prop::collection::btree_map(any_text(), any_value(), 0..5),
        delete in prop::collection::btree_set(any_text(), 0..3),
        keep in any_condition(),
        headers in prop::collection::btree_map("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,10}", "[!-~]{0,12}", 0..4),
        keys in any_keys(),
        id in "[a-z0-9][a-z0-9_.-]{0,12}",
    ) {
        let mut pipeline = Pipeline::new(Settings::default());
        let resource = Resource { insert, delete, ..Resource::default() };
        let select = Select { keep: Some(keep), ..Select::default() };
        let mut sink = OtlpSink::new("http://localhost:4317".parse().unwrap());
        sink.headers = headers.into_iter().map(|(name, text)| (name, HeaderValue::Plain(SensitiveText::new(text)))).collect();
        let components = [
            ("s".to_owned() + &id, Component::source(OtlpSource::default())),
            ("t".to_owned() + &id, Component::transform(resource, &["a"]).unwrap()),
            ("u".to_owned() + &id, Component::transform(select, &["b.c"]).unwrap().narrowed(SignalSet::LOGS)),
            ("v".to_owned() + &id, Component::sink(sink, &["c"], keys).unwrap()),
        ];
        for (id, component) in components {
            pipeline.insert(ComponentId::new(&id).unwrap(), component).unwrap();
        }
        let text = pipeline.to_toml(&CATALOG);
        prop_assert_eq!(read_back(&text), pipeline, "{}", text);
    }
}
