//! What must hold for any lines, as functions that panic when it does not. The tests, the replay of the fuzzing seeds and
//! the fuzz target all call them. Judges are prost for the wire, `serde_json` for JSON, a regular expression for the
//! framing, and a model that keeps everything in structs.
#![allow(dead_code, reason = "each user of this module calls some of it")]
#![allow(unreachable_pub, reason = "the fuzz crate includes this module by path")]
#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use engine_config::ByteSize;
use engine_config::sources::log_format::{LogFormat, Multiline, MultilineTable, Preset, ReadTime, RecordKeys, Zone};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use prost::Message as _;
use regex::bytes::Regex;
use serde_json::Value as Json;

use super::{FileParser, Format, Line, LineCounts, RecordOptions, Records};

/// The form of the CRI.
static CRI: LazyLock<Regex> = LazyLock::new(|| {
    let form = concat!(
        r"(?s-u)^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(\.\d+)?(?:([+-]\d\d:\d\d)|[Zz]) ",
        r"(stdout|stderr) ([PF])(?::[^ ]*)?(?: (.*))?$"
    );
    Regex::new(form).unwrap()
});

/// The form of times.
static RFC3339: LazyLock<regex::Regex> = LazyLock::new(|| {
    regex::Regex::new(r"^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(\.\d+)?(?:([+-]\d\d:\d\d)|[Zz])$").unwrap()
});

/// When the lines are read.
pub const OBSERVED: u64 = 1_795_000_000_000_000_000;

/// A way to read lines.
pub struct Case {
    pub format: LogFormat,
    pub is_container: bool,
    pub multiline: Option<Multiline>,
    pub max_record_size: usize,
    pub keep_original_body: bool,
}

impl Case {
    /// Lines of containers, with all defaults.
    pub fn container() -> Self {
        Self { is_container: true, ..Self::text() }
    }

    /// Lines of text, with all defaults.
    pub fn text() -> Self {
        Self {
            format: LogFormat::default(),
            is_container: false,
            multiline: None,
            max_record_size: 1 << 20,
            keep_original_body: true,
        }
    }

    /// A format as a configuration writes it.
    pub fn of(format: Json) -> Self {
        Self { format: serde_json::from_value(format).unwrap(), ..Self::text() }
    }

    pub fn keeping(self, multiline: Multiline) -> Self {
        Self { multiline: Some(multiline), ..self }
    }

    pub fn build(&self) -> Arc<Format> {
        let options = RecordOptions {
            multiline: self.multiline.as_ref(),
            max_record_size: ByteSize::bytes(self.max_record_size as u64),
            keep_original_body: self.keep_original_body,
        };
        let format = if self.is_container {
            Format::container(self.format.keys().unwrap_or(&RecordKeys::default()), options)
        } else {
            Format::text(&self.format, options)
        };
        Arc::new(format.unwrap())
    }
}

/// An entry begins where an expression matches.
pub fn start(pattern: &str) -> Multiline {
    Multiline::Table(MultilineTable { start: Some(pattern.parse().unwrap()), ..MultilineTable::default() })
}

/// What lines become, and the counts, when the file ends behind them.
pub fn read(case: &Case, lines: &[&[u8]]) -> (Vec<LogRecord>, LineCounts) {
    read_with(case, lines, &[])
}

/// As [`read`], with attributes of the file.
pub fn read_with(case: &Case, lines: &[&[u8]], attributes: &[KeyValue]) -> (Vec<LogRecord>, LineCounts) {
    let encoded = LogRecord { attributes: attributes.to_vec(), ..LogRecord::default() }.encode_to_vec();
    let mut parser = FileParser::new(case.build(), Bytes::from(encoded));
    let mut records = Records::default();
    let mut start = 0;
    for line in lines {
        parser.line(Line { bytes: line, is_truncated: false, start }, OBSERVED, &mut records);
        start += line.len() as u64 + 1;
        assert!(parser.waits_from().is_none_or(|waits| waits < start), "what waits was read");
    }
    parser.flush(OBSERVED, &mut records);
    assert_eq!(parser.waits_from(), None, "nothing waits behind the end");
    let counts = records.counts();
    (decoded(&mut records), counts)
}

/// The records, which are as a request may have them.
pub fn decoded(records: &mut Records) -> Vec<LogRecord> {
    let (len, byte_len) = (records.len(), records.byte_len());
    let bytes = records.take();
    assert_eq!(bytes.len(), byte_len);
    let scope = ScopeLogs::decode(&bytes[..]).expect("records are fields of ScopeLogs");
    assert_eq!(scope.log_records.len(), len, "records are counted");
    let mut request = Vec::new();
    let entry = framed(2, &bytes);
    request.extend(framed(1, &entry));
    let wire = otlp::admit(otlp::Signal::Logs, Bytes::from(request)).expect("records are admitted");
    assert!(!wire.normalised(), "records are in normal form");
    assert_eq!(wire.records(), len as u64);
    for record in &scope.log_records {
        keys_differ(&record.attributes);
        assert!(record.body.is_none() || record.body.as_ref().is_some_and(|body| body.value.is_some()));
    }
    scope.log_records
}

fn framed(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

/// No key stands twice in one list, at any depth.
fn keys_differ(attributes: &[KeyValue]) {
    let mut seen = BTreeSet::new();
    for attribute in attributes {
        assert!(seen.insert(&attribute.key), "`{}` stands twice", attribute.key);
        keys_differ_in(attribute.value.as_ref().unwrap());
    }
}

fn keys_differ_in(value: &AnyValue) {
    match &value.value {
        Some(any_value::Value::KvlistValue(map)) => keys_differ(&map.values),
        Some(any_value::Value::ArrayValue(list)) => list.values.iter().for_each(keys_differ_in),
        _ => {}
    }
}

/// The attribute with a key.
pub fn attribute<'r>(record: &'r LogRecord, key: &str) -> Option<&'r any_value::Value> {
    record.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

/// The body, if it is a text.
pub fn body(record: &LogRecord) -> Option<&str> {
    match record.body.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// What was written into the log: the original where there is one, else the body.
pub fn original(record: &LogRecord) -> &str {
    match attribute(record, "log.original") {
        Some(any_value::Value::StringValue(text)) => text,
        _ => body(record).unwrap(),
    }
}

pub fn stream(record: &LogRecord) -> Option<&str> {
    match attribute(record, "log.iostream") {
        Some(any_value::Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

/// A value as JSON. Whole numbers and others are told apart as they are on the wire.
pub fn json(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(any_value::Value::BoolValue(value)) => Json::from(*value),
        Some(any_value::Value::IntValue(value)) => Json::from(*value),
        Some(any_value::Value::DoubleValue(value)) => Json::from(*value),
        Some(any_value::Value::StringValue(value)) => Json::from(value.as_str()),
        Some(any_value::Value::ArrayValue(list)) => list.values.iter().map(json).collect(),
        Some(any_value::Value::KvlistValue(map)) => {
            map.values.iter().map(|member| (member.key.clone(), json(member.value.as_ref().unwrap()))).collect()
        }
        Some(other) => panic!("no JSON becomes {other:?}"),
    }
}

/// What the model expects of one line.
#[derive(Debug, PartialEq)]
struct Expected {
    stream: Option<&'static str>,
    time: u64,
    text: String,
}

/// Lines of containers, joined, as a regular expression and `serde_json` read them.
fn model(lines: &[&[u8]]) -> (Vec<Expected>, u64) {
    let mut waiting: [Option<(u64, Vec<u8>)>; 3] = Default::default();
    let (mut expected, mut unframed) = (Vec::new(), 0);
    let streams = [None, Some("stdout"), Some("stderr")];
    let mut push = |index: usize, time: u64, text: &[u8]| {
        if !text.is_empty() {
            let text = String::from_utf8_lossy(text).into_owned();
            expected.push(Expected { stream: streams[index], time, text });
        }
    };
    for line in lines {
        let framed = CRI.captures(line).and_then(|found| {
            let group = |index| found.get(index).map_or("", |found| std::str::from_utf8(found.as_bytes()).unwrap());
            let time = time(group(1), group(2), group(3), group(4), group(5))?;
            let text = found.get(8).map_or(&[][..], |text| text.as_bytes()).to_vec();
            Some((1 + usize::from(group(6) == "stderr"), time, group(7) == "P", text))
        });
        let Some((index, time, is_partial, text)) = framed.or_else(|| docker(line)) else {
            unframed += 1;
            push(0, 0, line);
            continue;
        };
        let (first, mut whole) = waiting[index].take().unwrap_or((time, Vec::new()));
        whole.extend(text);
        if is_partial {
            waiting[index] = Some((first, whole));
        } else {
            push(index, first, &whole);
        }
    }
    for (index, waiting) in waiting.into_iter().enumerate() {
        if let Some((time, text)) = waiting {
            push(index, time, &text);
        }
    }
    (expected, unframed)
}

/// Nanoseconds of a time of RFC 3339 in its parts, as the calendar of a library has them.
pub fn time(date: &str, clock: &str, second: &str, fraction: &str, offset: &str) -> Option<u64> {
    let fraction = &fraction[..fraction.len().min(10)];
    let offset = if offset.is_empty() { "+00:00" } else { offset };
    // The library takes a leap second for the one before.
    let (second, leap) = if second == "60" { ("59", 1_000_000_000) } else { (second, 0) };
    let hours: u32 = offset[1..3].parse().unwrap();
    let minutes: u32 = offset[4..6].parse().unwrap();
    if hours > 23 || minutes > 59 {
        return None;
    }
    // Before 1970 there may be an instant that its offset brings behind it.
    let reader = ReadTime::new("%Y-%m-%dT%H:%M:%S%.f", &offset.parse::<Zone>().unwrap());
    Some(reader.unix_nanos(format!("{date}T{clock}{second}{fraction}").as_bytes(), OBSERVED)? + leap)
}

fn docker(line: &[u8]) -> Option<(usize, u64, bool, Vec<u8>)> {
    let object = object(line).filter(|_| line[0] == b'{')?;
    let text = |key: &str| object.get(key).and_then(Json::as_str);
    let log = text("log")?;
    let index = match text("stream") {
        Some("stdout") => 1,
        Some("stderr") => 2,
        _ => 0,
    };
    let at = RFC3339.captures(text("time").unwrap_or_default()).filter(|found| found[0].is_ascii()).and_then(|found| {
        let group = |index| found.get(index).map_or("", |found| found.as_str());
        time(group(1), group(2), group(3), group(4), group(5))
    });
    let ended = log.strip_suffix('\n').map(|log| log.strip_suffix('\r').unwrap_or(log));
    Some((index, at.unwrap_or(0), ended.is_none(), ended.unwrap_or(log).as_bytes().to_vec()))
}

/// An object, however deep.
fn object(text: &[u8]) -> Option<serde_json::Map<String, Json>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.disable_recursion_limit();
    let object = serde::Deserialize::deserialize(&mut reader).ok()?;
    reader.end().ok().map(|()| object)
}

/// Whether `serde_json` refuses a text for a number that no double holds.
fn has_endless_number(text: &[u8]) -> bool {
    let refusal = serde_json::from_slice::<Json>(text).err().map(|error| error.to_string());
    // Within a string it is found when the string is read.
    refusal.is_some_and(|text| text.contains("out of range"))
        || text.windows(2).any(|pair| pair == b"e9" || pair == b"E9")
}

/// Lines of containers become what the model says, and JSON in them what `serde_json` says.
pub fn container(lines: &[&[u8]]) {
    if lines.iter().any(|line| has_endless_number(line)) {
        return;
    }
    let (records, counts) = read(&Case::container(), lines);
    let (expected, unframed) = model(lines);
    assert_eq!(counts.unframed, unframed);
    assert_eq!(counts.truncated, 0);
    assert_eq!(records.len(), expected.len(), "{records:?} {expected:?}");
    for (record, expected) in records.iter().zip(&expected) {
        let found = Expected {
            stream: expected.stream.filter(|_| stream(record).is_some()),
            time: record.time_unix_nano,
            text: original(record).to_owned(),
        };
        assert_eq!(found, *expected);
        assert_eq!(stream(record), expected.stream);
        assert_eq!(record.observed_time_unix_nano, OBSERVED);
        // A line without framing stays text.
        if expected.stream.is_some() || !record.attributes.is_empty() {
            means(record, &expected.text);
        }
    }
}

/// A record says what a line of JSON says, or is the line.
pub fn means(record: &LogRecord, text: &str) {
    let Some(mut object) = object(text.as_bytes()).filter(|_| text.starts_with('{')) else {
        assert_eq!(body(record), Some(text));
        assert_eq!(record.severity_number, 0);
        return;
    };
    // Members that ours win over.
    let own = ["log.iostream", "log.original"];
    let mut attributes: Vec<(String, Json)> = Vec::new();
    for attribute in record.attributes.iter().filter(|attribute| !own.contains(&attribute.key.as_str())) {
        attributes.push((attribute.key.clone(), json(attribute.value.as_ref().unwrap())));
    }
    let message = ["msg", "message"].into_iter().find(|key| object.get(*key).is_some_and(|value| !value.is_null()));
    match message.and_then(|key| object.remove(key)) {
        Some(message) => assert!(same(&json(record.body.as_ref().unwrap()), &message)),
        None => assert_eq!(body(record), Some(text), "without a message the line is the body"),
    }
    if record.severity_number != 0 {
        let text = record.severity_text.as_str();
        let is_level = |value: &Json| value.as_str() == Some(text) || serde_json::to_string(value).unwrap() == text;
        let key = ["log.level", "level"].into_iter().find(|key| object.get(*key).is_some_and(is_level)).unwrap();
        object.remove(key);
    }
    if !record.trace_id.is_empty() {
        let id = record.trace_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let holds = |key: &str, id: &str| {
            object.get(key).and_then(Json::as_str).is_some_and(|text| text.to_ascii_lowercase().contains(id))
        };
        if holds("trace_id", &id) {
            object.remove("trace_id");
            if !record.span_id.is_empty() {
                object.remove("span_id").unwrap();
            }
            if !attributes.iter().any(|(key, _)| key == "trace_flags") {
                object.remove("trace_flags");
            }
        } else {
            assert!(holds("traceparent", &id));
            object.remove("traceparent");
        }
    }
    object.retain(|key, _| !own.contains(&key.as_str()));
    assert_eq!(attributes.len(), object.len(), "{attributes:?} {object:?}");
    for (key, value) in attributes {
        assert!(same(&value, &object[&key]), "{value} {}", object[&key]);
    }
}

/// Whether a value on the wire is what JSON says: whole numbers beyond 64 bits are doubles, and what is nested deeply, or
/// too large for a double, is text.
fn same(found: &Json, expected: &Json) -> bool {
    match (found, expected) {
        (Json::Number(found), Json::Number(expected)) => found.as_f64() == expected.as_f64(),
        (Json::Array(found), Json::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| same(found, expected))
        }
        (Json::Object(found), Json::Object(expected)) => {
            found.len() == expected.len()
                && found.iter().all(|(key, value)| expected.get(key).is_some_and(|expected| same(value, expected)))
        }
        (Json::String(found), Json::Array(_) | Json::Object(_)) => {
            let wrapped = format!("{{\"it\":{found}}}");
            object(wrapped.as_bytes()).is_some_and(|found| found["it"] == *expected)
        }
        _ => found == expected,
    }
}

/// Nothing of any lines is lost, in whatever way they are read: what records hold of a stream is what was written to it.
pub fn covers(case: &Case, lines: &[&[u8]]) {
    let (records, counts) = read(case, lines);
    if counts.truncated > 0 || counts.invalid_utf8 > 0 {
        return;
    }
    let mut expected: [Vec<String>; 3] = Default::default();
    if case.is_container {
        for line in model(lines).0 {
            let index = match line.stream {
                None => 0,
                Some("stdout") => 1,
                Some(_) => 2,
            };
            expected[index].extend(line.text.split('\n').map(str::to_owned));
        }
    } else {
        expected[0].extend(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    let mut found: [Vec<String>; 3] = Default::default();
    for record in &records {
        // In a file of its own an application may call anything a stream.
        let index = match stream(record).filter(|_| case.is_container) {
            None => 0,
            Some("stdout") => 1,
            Some(_) => 2,
        };
        found[index].extend(original(record).split('\n').map(str::to_owned));
    }
    // Lines without anything in them are records of nothing.
    for list in expected.iter_mut().chain(&mut found) {
        list.retain(|line| !line.is_empty());
    }
    assert_eq!(found, expected);
}

/// Any bytes: the first one chooses how they are read.
pub fn fuzz(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let json = || Case::of(Json::from("json"));
    let case = match choice % 12 {
        0 => return container(&lines),
        1 => Case::container().keeping(Multiline::Preset(Preset::Java)),
        2 => Case::container().keeping(Multiline::Preset(Preset::Python)),
        3 => Case::container().keeping(Multiline::Preset(Preset::Go)),
        4 => Case::container().keeping(start("^[0-9]")),
        5 => Case { max_record_size: 7, ..Case::container() },
        6 => Case { max_record_size: 9, ..Case::text().keeping(start("^[^ ]")) },
        7 => Case { keep_original_body: false, ..json() },
        8 => json().keeping(Multiline::Preset(Preset::Java)),
        9 => Case::of(serde_json::json!({
            "type": "json",
            "keys": { "time": ["time", "ts"], "time_format": "epoch_ms", "body": ["log"], "severity": ["s"] },
        })),
        10 => Case::of(serde_json::json!({
            "type": "regex",
            "pattern": r"(?<time>[^ ]+) (?<level>\w+) (?:\[(?<trace_id>\w+)\] )?(?<message>.*)(?<tail>x*)$",
        })),
        _ => Case::text(),
    };
    if case.keep_original_body && !matches!(choice % 12, 7) {
        covers(&case, &lines);
    } else {
        read(&case, &lines);
    }
}
