//! Any lines, against models.

use std::path::Path;

use engine_config::sources::log_format::{Multiline, Preset};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::time::rfc3339;
use super::*;

fn json(depth: u32) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (0..70_i64).prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no infinity", |number| number.is_finite()).prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        "[0-9a-f]{32}|[0-9a-f]{16}|00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]".prop_map(Json::from),
        prop::sample::select(vec!["info", "WARN", "critical", "x", ""]).prop_map(Json::from),
    ];
    leaf.prop_recursive(depth, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec(("[a-c\"\\\\é]{0,2}", inner), 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A line of JSON, with keys that have a meaning, and some of them twice.
fn object() -> impl Strategy<Value = String> {
    let names = vec![
        "msg",
        "message",
        "level",
        "log.level",
        "trace_id",
        "span_id",
        "trace_flags",
        "traceparent",
        "time",
        "a",
        "b",
        "log.iostream",
        "log.original",
        "é\"",
        "",
    ];
    prop::collection::vec((prop::sample::select(names), json(3)), 0..12).prop_map(|members| {
        let members: Vec<String> =
            members.into_iter().map(|(key, value)| format!("{}:{value}", Json::from(key))).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// What a container writes: text, JSON, and things that look like it.
fn written() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => object().prop_map(String::into_bytes),
        2 => "[^\n\r]{0,40}".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["", "{", "{oops}", "\tat a.B.c(B.java:1)", "a.b.CException: d", "Caused by: x"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>().prop_filter("a line has no line end", |byte| *byte != b'\n'), 0..20),
    ]
}

/// Lines of a file of a container: each line that was written, in parts, framed in either form; and what is framed in none.
fn framed() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let line = (written(), any::<bool>(), any::<bool>(), any::<bool>(), 0..1_000_000_000_u32);
    let framed = line.prop_map(|(text, is_stdout, is_docker, is_partial, nanos)| {
        let stream = if is_stdout { "stdout" } else { "stderr" };
        let time = format!("2024-07-14T21:14:05.{nanos:09}Z");
        if is_docker {
            let log = String::from_utf8_lossy(&text).into_owned() + if is_partial { "" } else { "\n" };
            return serde_json::json!({ "log": log, "stream": stream, "time": time }).to_string().into_bytes();
        }
        let tag = if is_partial { "P" } else { "F" };
        [format!("{time} {stream} {tag} ").as_bytes(), &text].concat()
    });
    prop::collection::vec(prop_oneof![9 => framed, 1 => written()], 0..12)
}

fn slices(lines: &[Vec<u8>]) -> Vec<&[u8]> {
    lines.iter().map(Vec::as_slice).collect()
}

proptest! {
    /// Whatever containers write, in parts, on two streams and in two forms: the records say what was written.
    #[test]
    fn containers_agree_with_the_model(lines in framed()) {
        check::container(&slices(&lines));
    }

    /// JSON says in a record what `serde_json` says.
    #[test]
    fn objects_agree_with_serde_json(line in object()) {
        let (records, counts) = read(&Case::of("json".into()), &[line.as_bytes()]);
        prop_assert_eq!(counts.malformed_json, 0);
        check::means(&records[0], &line);
    }

    /// Nothing is lost, however lines are joined.
    #[test]
    fn nothing_is_lost(lines in framed(), texts in prop::collection::vec(written(), 0..12), choice in 0..4) {
        let multiline = match choice {
            0 => Multiline::Preset(Preset::Java),
            1 => Multiline::Preset(Preset::Python),
            2 => Multiline::Preset(Preset::Go),
            _ => check::start("^[a-f\\[{]"),
        };
        check::covers(&Case::container().keeping(multiline.clone()), &slices(&lines));
        check::covers(&Case::text().keeping(multiline.clone()), &slices(&texts));
        check::covers(&Case::of("json".into()).keeping(multiline), &slices(&texts));
    }

    /// Any bytes, in every way to read them.
    #[test]
    fn any_bytes(choice in any::<u8>(), bytes in prop::collection::vec(prop_oneof![
        any::<u8>(),
        prop::sample::select(b"{}[]\":,\\n 019TZ-+.PF\n\tu".to_vec()),
    ], 0..200)) {
        check::fuzz(&[&[choice], &bytes[..]].concat());
    }

    /// Times are those that a library of calendars finds.
    #[test]
    fn times_agree_with_a_calendar(
        (year, month, day) in (1960..2600_u32, 0..14_u32, 0..33_u32),
        (hour, minute, second) in (0..25_u32, 0..61_u32, 0..61_u32),
        fraction in "|\\.[0-9]{1,12}",
        offset in "|[+-](0[0-9]|1[0-9]|2[0-4]):[0-5][0-9]",
    ) {
        let (date, clock, second) = (format!("{year}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:"), format!("{second:02}"));
        let text = format!("{date}T{clock}{second}{fraction}{}", if offset.is_empty() { "Z" } else { &offset });
        let expected = check::time(&date, &clock, &second, &fraction, &offset);
        prop_assert_eq!(rfc3339(text.as_bytes()), expected.map(|time| (time, text.len())), "{}", text);
    }
}

/// The seeds of the fuzz target hold; `UPDATE_SEEDS=1` writes those that are made here.
#[test]
fn seeds_of_the_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/log_lines");
    let container = "2016-10-06T00:17:09.669794202Z stdout F {\"level\":\"info\",\"msg\":\"m\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"n\":{\"a\":[1,-2.5e3,null,true,\"\\u00e9\"]}}\n2016-10-06T00:17:09+02:00 stderr P a\n{\"log\":\"b\\n\",\"stream\":\"stderr\",\"time\":\"2016-10-06T00:17:09Z\"}\nneither\n2016-10-06T00:17:09Z stderr F:x c";
    let java = "2016-10-06T00:17:09Z stdout F ERROR a\n2016-10-06T00:17:09Z stdout F a.b.CException: d\n2016-10-06T00:17:09Z stdout F \tat a.B.c(B.java:1)\n2016-10-06T00:17:09Z stdout F Caused by: x\n2016-10-06T00:17:09Z stdout F {\"a\":1}";
    let python =
        java.replace("a.b.CException: d", "Traceback (most recent call last):").replace("\tat a.B", "  File \"a\"");
    let go = java.replace("ERROR a", "panic: a").replace("a.b.CException: d", "goroutine 1 [running]:");
    let objects = "{\"ts\":1475713029.25,\"time\":\"x\",\"log\":\"a\",\"s\":\"warn\",\"a\":1,\"a\":2}\n{oops}\n{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\",\"message\":{\"a\":1},\"log.level\":50}";
    let words = "2016-10-06T00:17:09Z WARN [4bf92f3577b34da6a3ce929d0e0e4736] text\nno match";
    let seeds = [container, java, &python, &go, container, container, words, objects, objects, objects, words, words];
    for (choice, text) in seeds.iter().enumerate() {
        let content = [&[choice as u8], text.as_bytes()].concat();
        let path = folder.join(format!("case-{choice:02}"));
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &content).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), content, "{} is not what is made here", path.display());
    }
    let mut replayed = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        check::fuzz(&std::fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} seeds");
}
