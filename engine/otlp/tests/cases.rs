//! Cases that the generator of the property tests meets rarely or not at all: requests at the edges of OTLP, hostile
//! ones, and what must stay exactly as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use otlp::json::{self, SnakeCase, from_json, to_json};
use otlp::{
    Admission, AdmitError, AttributeEdit, AttributeEdits, AttributeValue, Decoded, EditAction, Fault, KeyPattern,
    Progress, ResourceEdit, ResourceEdits, Signal, SplitLimits, ValueView, Wire, WireEdits, admit, readmit,
};

/// A length-delimited field.
fn nested(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, u64::from(number << 3 | 2));
    varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn attribute(number: u32, key: &str, value: &str) -> Vec<u8> {
    nested(number, &[nested(1, key.as_bytes()), nested(2, &nested(1, value.as_bytes()))].concat())
}

/// A request with one resource, one scope list and these records.
fn request(resource: &[u8], records: &[&[u8]]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|record| nested(2, record)).collect();
    nested(1, &[nested(1, resource), nested(2, &records)].concat())
}

fn admitted(signal: Signal, body: &[u8]) -> Wire {
    admit(signal, Bytes::copy_from_slice(body)).unwrap()
}

fn refused(signal: Signal, body: &[u8]) -> (String, Fault) {
    match admit(signal, Bytes::copy_from_slice(body)) {
        Err(AdmitError::Malformed { path, fault, .. }) => (path, fault),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn edits(list: &[(&str, EditAction)]) -> ResourceEdits {
    list.iter().map(|(key, action)| ResourceEdit { key: (*key).to_owned(), action: action.clone() }).collect()
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::String(text.to_owned())
}

/// An empty message is a request without records (OTLP: success).
#[test]
fn nothing_is_admitted() {
    for signal in Signal::ALL {
        let wire = admitted(signal, b"");
        assert!(wire.is_empty() && wire.rope().is_empty() && wire.resource_count() == 0);
        assert!(wire.halve().is_err());
        assert!(from_json(signal, b"{}").unwrap().is_empty());
        assert_eq!(to_json(&Wire::empty(signal)), "{}");
    }
}

/// Envelopes without records are success and are not forwarded.
#[test]
fn empty_envelopes_are_left_out() {
    let empty = nested(1, &[nested(1, &attribute(1, "a", "b")), nested(2, b"")].concat());
    let full = request(&attribute(1, "a", "b"), &[b""]);
    let wire = admitted(Signal::Logs, &[&empty[..], &full, &empty, b"\x0a\x00", &full].concat());
    assert_eq!((wire.resource_count(), wire.records()), (2, 2));
    assert_eq!(wire.into_rope().into_bytes(), [&full[..], &full].concat());
    assert!(admitted(Signal::Traces, &empty).is_empty());
}

/// Garbage, truncation and bad UTF-8 are refused, each with the place.
#[test]
fn malformed_requests_are_refused() {
    let body = request(&attribute(1, "a", "b"), &[&nested(3, b"INFO")]);
    assert_eq!(refused(Signal::Logs, b"\xff\xff").1, Fault::Varint);
    assert_eq!(refused(Signal::Logs, b"\x07"), ("unknown field 0".to_owned(), Fault::Key));
    for len in 1..body.len() {
        assert!(admit(Signal::Logs, Bytes::copy_from_slice(&body[..len])).is_err(), "cut at {len}");
    }
    let bad = request(&attribute(1, "a", "b"), &[b"", &nested(6, &nested(1, b"\xff"))]);
    let path = "resource_logs[0].scope_logs[0].log_records[1].attributes[0].key";
    assert_eq!(refused(Signal::Logs, &bad), (path.to_owned(), Fault::Utf8));
    let wrong = request(b"", &[&[0x18, 1]]);
    let path = "resource_spans[0].scope_spans[0].spans[0].trace_state";
    assert_eq!(refused(Signal::Traces, &wrong), (path.to_owned(), Fault::WireType));
}

/// A refusal is named in one walk over the body, however many fields stand before the one at fault that nobody knows.
#[test]
fn a_refusal_is_named_behind_many_unknown_fields() {
    let mut record = Vec::new();
    for number in 100..700_000 {
        varint(&mut record, number << 3);
        record.push(1);
    }
    record.extend(attribute(6, "a", "b"));
    record.extend(nested(6, &nested(1, b"\xff")));
    let path = "resource_logs[0].scope_logs[0].log_records[1].attributes[1].key";
    assert_eq!(refused(Signal::Logs, &request(b"", &[b"", &record])), (path.to_owned(), Fault::Utf8));
}

/// Unknown enumeration numbers are kept.
#[test]
fn unknown_enumeration_numbers_survive() {
    let wire = admitted(Signal::Traces, &request(b"", &[&[0x30, 99]]));
    let kinds: Vec<i32> = wire
        .resources()
        .flat_map(|resource| resource.scopes())
        .flat_map(|scope| scope.spans())
        .map(|span| span.kind())
        .collect();
    assert_eq!(kinds, [99]);
    assert!(to_json(&wire).contains("\"kind\":99"));
    assert_eq!(from_json(Signal::Traces, to_json(&wire).as_bytes()).unwrap().rope(), wire.rope());
}

/// Unknown fields of entries, resources, scope lists, scopes and records survive every operation.
#[test]
fn unknown_fields_survive() {
    let unknown = |tag: &str| nested(1000, format!("unknown-{tag}").as_bytes());
    let record = |tag: &str| [nested(3, b"INFO"), unknown(tag)].concat();
    let scope =
        [nested(1, &unknown("scope")), nested(2, &record("first")), unknown("list"), nested(2, &record("second"))];
    let entry = [
        unknown("entry"),
        nested(1, &[attribute(1, "a", "b"), unknown("resource")].concat()),
        nested(2, &scope.concat()),
    ];
    let body = nested(1, &entry.concat());
    let has = |wire: &Wire, tag: &str| {
        let bytes = wire.rope().into_bytes();
        let wanted = format!("unknown-{tag}");
        bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    };
    let wire = admitted(Signal::Logs, &body);
    let edited =
        wire.edit_resources(&edits(&[("a", EditAction::Upsert(string("c"))), ("d", EditAction::Insert(string("e")))]));
    for tag in ["entry", "resource", "list", "scope", "first", "second"] {
        assert!(has(&edited, tag), "{tag}");
    }
    let (left, right) = edited.halve().unwrap();
    for tag in ["entry", "resource", "list", "scope"] {
        assert!(has(&left, tag) && has(&right, tag), "{tag}");
    }
    assert!(has(&left, "first") && has(&right, "second") && !has(&left, "second") && !has(&right, "first"));
}

/// Of an edited Resource all other bytes and their order stay; what is equal already is not touched.
#[test]
fn edits_change_nothing_else() {
    let resource = [attribute(1, "a", "1"), vec![0x10, 7], attribute(1, "b", "2"), attribute(1, "c", "3")].concat();
    let body = request(&resource, &[b"", b""]);
    let wire = admitted(Signal::Logs, &body);
    let same =
        wire.clone().edit_resources(&edits(&[("b", EditAction::Upsert(string("2"))), ("x", EditAction::Delete)]));
    assert_eq!(same.rope(), wire.rope());
    let edited = wire.edit_resources(&edits(&[
        ("b", EditAction::Update(string("two"))),
        ("a", EditAction::Delete),
        ("d", EditAction::Upsert(AttributeValue::Bool(true))),
        ("c", EditAction::Insert(string("kept"))),
    ]));
    let added = nested(1, &[nested(1, b"d"), nested(2, &[0x10, 1])].concat());
    let expected = [vec![0x10, 7], attribute(1, "b", "two"), attribute(1, "c", "3"), added].concat();
    assert_eq!(edited.into_rope().into_bytes(), request(&expected, &[b"", b""]));
}

/// Setting a key that occurs twice leaves one; deleting it leaves none; inserting it changes nothing.
#[test]
fn no_edit_leaves_or_makes_a_second_entry() {
    let twice = request(&[attribute(1, "a", "1"), attribute(1, "b", "2"), attribute(1, "a", "3")].concat(), &[b""]);
    let values = |action: EditAction| {
        let wire = admitted(Signal::Logs, &twice).edit_resources(&edits(&[("a", action)]));
        let resource = wire.resources().next().unwrap();
        resource.attributes().map(|found| format!("{}={:?}", found.key, found.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(values(EditAction::Upsert(AttributeValue::Int(5))), "a=Int(5) b=Str(\"2\")");
    assert_eq!(values(EditAction::Upsert(string("1"))), "a=Str(\"1\") b=Str(\"2\")");
    assert_eq!(values(EditAction::Update(AttributeValue::Int(5))), "a=Int(5) b=Str(\"2\")");
    assert_eq!(values(EditAction::Delete), "b=Str(\"2\")");
    assert_eq!(values(EditAction::Insert(AttributeValue::Int(5))), "a=Str(\"1\") b=Str(\"2\") a=Str(\"3\")");
    assert_eq!(values(EditAction::Fill(AttributeValue::Int(5))), "a=Str(\"1\") b=Str(\"2\") a=Str(\"3\")");
}

/// Filling sets what is absent, empty or without a value, and nothing else; also behind edits that emptied it.
#[test]
fn filling_sets_what_says_nothing() {
    let resource = [attribute(1, "a", ""), nested(1, &nested(1, b"b")), attribute(1, "c", "kept")].concat();
    let wire = admitted(Signal::Logs, &request(&resource, &[b""]));
    let fill = |key| (key, EditAction::Fill(string("new")));
    let list = [
        fill("a"),
        fill("b"),
        fill("c"),
        fill("d"),
        ("e", EditAction::Upsert(string(""))),
        fill("e"),
        ("f", EditAction::Fill(string(""))),
        fill("f"),
        ("f", EditAction::Fill(string("late"))),
    ];
    let edited = wire.edit_resources(&edits(&list));
    let found: Vec<_> = edited.resources().next().unwrap().attributes().map(|found| (found.key, found.value)).collect();
    let text = ValueView::Str;
    let expected = [("a", "new"), ("b", "new"), ("c", "kept"), ("d", "new"), ("e", "new"), ("f", "new")];
    assert_eq!(found, expected.map(|(key, value)| (key, text(value))));
}

/// Each entry gets its own edits, and where none of them changes anything the bytes stay the same.
#[test]
fn each_entry_has_its_edits() {
    let resource = |name: &str| request(&attribute(1, "name", name), &[b""]);
    let wire = admitted(Signal::Logs, &[resource("one"), resource("two"), resource("three")].concat());
    let nothing = ResourceEdits::default();
    let all = [edits(&[("a", EditAction::Insert(string("1")))]), nothing, edits(&[("name", EditAction::Delete)])];
    let edited = wire.clone().edit_each_resource(|place| &all[place]);
    let found: Vec<Vec<_>> = edited
        .resources()
        .map(|resource| resource.attributes().map(|found| (found.key, found.value)).collect())
        .collect();
    let text = ValueView::Str;
    assert_eq!(found, [vec![("name", text("one")), ("a", text("1"))], vec![("name", text("two"))], vec![]]);
    assert_eq!(wire.clone().edit_each_resource(|_| &all[1]).rope(), wire.rope());
}

/// Edits of one key follow one another, and a missing Resource is made.
#[test]
fn edits_follow_one_another() {
    let body = nested(1, &nested(2, &nested(2, b"")));
    let list = [
        ("a", EditAction::Update(string("no"))),
        ("a", EditAction::Insert(string("first"))),
        ("a", EditAction::Insert(string("second"))),
        ("b", EditAction::Upsert(string("gone"))),
        ("b", EditAction::Delete),
        ("c", EditAction::Upsert(string("old"))),
        ("c", EditAction::Update(string("new"))),
    ];
    let wire = admitted(Signal::Logs, &body).edit_resources(&edits(&list));
    let found: Vec<_> = wire.resources().next().unwrap().attributes().map(|found| (found.key, found.value)).collect();
    assert_eq!(found, [("a", ValueView::Str("first")), ("c", ValueView::Str("new"))]);
}

fn of_records(list: &[AttributeEdit]) -> WireEdits {
    WireEdits { record: AttributeEdits::new(list).unwrap(), ..WireEdits::default() }
}

fn rename(from: &str, to: &str) -> AttributeEdit {
    AttributeEdit::Rename { from: from.to_owned(), to: to.to_owned() }
}

/// The one log record of a request after edits.
fn edited_record(record: &[u8], list: &[AttributeEdit]) -> Vec<u8> {
    let wire = admitted(Signal::Logs, &request(b"", &[record])).edit_attributes(&of_records(list));
    let body = wire.into_rope().into_bytes();
    let found = admitted(Signal::Logs, &body);
    assert!(!found.normalised() && found.records() == 1);
    let all_but_record = nested(1, &[nested(1, b""), nested(2, &nested(2, b""))].concat()).len();
    body.slice(all_but_record..).to_vec()
}

/// Of an edited record all other bytes and their order stay, unknown fields of a renamed attribute included.
#[test]
fn edits_of_records_change_nothing_else() {
    let unknown = nested(1000, b"?");
    let odd = nested(6, &[nested(2, &nested(1, b"v")), unknown.clone(), nested(1, b"old")].concat());
    let record = [attribute(6, "a", "1"), odd, nested(3, b"INFO"), unknown.clone(), attribute(6, "b", "2")].concat();
    let list = [rename("old", "new"), AttributeEdit::Delete(KeyPattern::Exact("a".to_owned()))];
    let renamed = nested(6, &[nested(1, b"new"), nested(2, &nested(1, b"v")), unknown.clone()].concat());
    let expected = [renamed, nested(3, b"INFO"), unknown, attribute(6, "b", "2")].concat();
    assert_eq!(edited_record(&record, &list), expected);
}

/// Renaming onto a key that is there leaves the renamed value only, whichever stands first; without the old key the
/// new one is not touched.
#[test]
fn renaming_leaves_one_entry() {
    let (old, new) = (attribute(6, "old", "1"), attribute(6, "new", "2"));
    let renamed = attribute(6, "new", "1");
    for record in [[&old[..], &new].concat(), [&new[..], &old].concat(), [&new[..], &old, &new, &old].concat()] {
        assert_eq!(edited_record(&record, &[rename("old", "new")]), renamed);
    }
    assert_eq!(edited_record(&new, &[rename("old", "new")]), new);
}

/// Hashes are SHA-256 of the documented bytes; the vectors come from another implementation.
#[test]
fn hashes_are_of_the_documented_bytes() {
    let double = [&[0x21][..], &1.5_f64.to_le_bytes()].concat();
    let list = nested(5, &[nested(1, &nested(1, b"a")), nested(1, &nested(1, b"b"))].concat());
    let map = nested(6, &nested(1, &[nested(1, b"a"), nested(2, &nested(1, b"b"))].concat()));
    let vectors: [(&[u8], &str); 9] = [
        (&nested(1, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (&nested(7, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (&[0x10, 1], "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"),
        (&[0x10, 0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (&[0x18, 42], "ed049108bc18f2c64369e8d0ea42850bdd1a7d1dd340cfde716315579702a76c"),
        (&double, "e163f8cb0f7067a7fc78ca859a77f849aea3214f38fb75b884e4a16be725c905"),
        (&list, "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a"),
        (&map, "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a"),
    ];
    for (value, expected) in vectors {
        let record = nested(6, &[nested(1, b"user.id"), nested(2, value)].concat());
        for pattern in [KeyPattern::Exact("user.id".to_owned()), KeyPattern::Prefix("user.".to_owned())] {
            assert_eq!(
                edited_record(&record, &[AttributeEdit::Hash(pattern)]),
                attribute(6, "user.id", expected),
                "{value:02x?}"
            );
        }
    }
}

/// Lengths around a change may need more bytes than before, or fewer, at every level.
#[test]
fn lengths_grow_and_shrink() {
    for signal in Signal::ALL {
        for padding in (90..130).chain(16_260..16_390) {
            let name = "x".repeat(padding);
            let record = match signal {
                Signal::Logs => [nested(3, name.as_bytes()), attribute(6, "gone", &"y".repeat(40))].concat(),
                Signal::Traces => [nested(5, name.as_bytes()), attribute(9, "gone", &"y".repeat(40))].concat(),
                Signal::Metrics => nested(9, &nested(1, &attribute(9, "gone", &format!("{name}{}", "y".repeat(40))))),
            };
            let wire = admitted(signal, &request(b"", &[&record]));
            let grown = wire.clone().edit_attributes(&of_records(&[AttributeEdit::Upsert("b".into(), string("c"))]));
            let delete = [AttributeEdit::Delete(KeyPattern::Exact("b".to_owned()))];
            assert_eq!(readmit(signal, grown.rope().into_bytes()).unwrap().len(), grown.len());
            assert!(grown.len() >= wire.len() + 9);
            assert_eq!(grown.edit_attributes(&of_records(&delete)).rope(), wire.rope(), "{signal} {padding}");
        }
    }
}

/// Edits that meet nothing share the bytes, and edits of resources share the records.
#[test]
fn what_does_not_change_is_shared() {
    let large = nested(3, "x".repeat(8000).as_bytes());
    let wire = admitted(Signal::Logs, &request(&attribute(1, "a", "1"), &[&large]));
    let none = wire.clone().edit_attributes(&of_records(&[AttributeEdit::Update("b".into(), string("c"))]));
    assert_eq!(none.rope().pieces()[0].as_ptr(), wire.rope().pieces()[0].as_ptr());
    let resource = AttributeEdits::new(&[rename("a", "b")]).unwrap();
    let renamed = wire.clone().edit_attributes(&WireEdits { resource, ..WireEdits::default() });
    let last = |wire: &Wire| wire.rope().pieces().last().unwrap().as_ptr_range().end;
    assert_eq!(last(&renamed), last(&wire));
    let both = Wire::concat([admitted(Signal::Logs, &request(b"", &[&attribute(6, "b", "1")])), wire.clone()]);
    let one = both.edit_attributes(&of_records(&[AttributeEdit::Update("b".into(), string("c"))]));
    assert_eq!(last(&one), last(&wire));
}

/// Edits of which the order would matter are refused, with the key.
#[test]
fn edits_of_one_attribute_overlap() {
    let exact = |key: &str| KeyPattern::Exact(key.to_owned());
    let prefix = |key: &str| KeyPattern::Prefix(key.to_owned());
    let cases = [
        (AttributeEdit::Insert("a".into(), string("b")), AttributeEdit::Delete(exact("a")), "`a`"),
        (AttributeEdit::Delete(prefix("user.")), AttributeEdit::Hash(exact("user.id")), "`user.id`"),
        (AttributeEdit::Hash(exact("user.id")), AttributeEdit::Delete(prefix("user.")), "`user.*`"),
        (AttributeEdit::Hash(prefix("user.")), AttributeEdit::Delete(prefix("user.x.")), "`user.x.*`"),
        (rename("a", "b"), rename("b", "c"), "`b`"),
        (AttributeEdit::Delete(exact("x")), rename("a", "a"), "`a`"),
    ];
    for (first, second, key) in cases {
        let error = AttributeEdits::new(&[first, second]).unwrap_err();
        assert_eq!(error.to_string(), format!("more than one edit is for {key}"));
    }
    assert!(
        AttributeEdits::new(&[AttributeEdit::Delete(prefix("user.")), AttributeEdit::Hash(exact("users"))]).is_ok()
    );
}

/// Unset, empty, mixed and nested values are accepted from both encodings.
#[test]
fn every_value_is_accepted() {
    let text = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{},"attributes":[{"key":"a","value":{"arrayValue":
        {"values":[{"intValue":1},{"stringValue":"x"},{},{"kvlistValue":{"values":[{"key":"k"}]}}]}}},
        {"key":"b","value":{"kvlistValue":{}}},{"key":"c","value":{"bytesValue":"_-8="}},{"key":"d","value":null}]}]}]}]}"#;
    let wire = from_json(Signal::Logs, text).unwrap();
    let log = wire.resources().next().unwrap().scopes().next().unwrap().log_records().next().unwrap();
    assert_eq!(log.body(), ValueView::Empty);
    let Some(ValueView::Array(array)) = log.get("a") else { panic!("a is a list") };
    assert_eq!(array.iter().count(), 4);
    assert_eq!(log.get("c"), Some(ValueView::Bytes(&[0xff, 0xef])));
    assert_eq!(log.get("d"), Some(ValueView::Empty));
}

/// The integers of JSON are exact, in both forms and at their bounds.
#[test]
fn integers_are_exact() {
    let read = |value: &str| {
        let text = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"intValue":{value}}},"timeUnixNano":"18446744073709551615"}}]}}]}}]}}"#
        );
        from_json(Signal::Logs, text.as_bytes()).map(|wire| {
            let log = wire.resources().next().unwrap().scopes().next().unwrap().log_records().next().unwrap();
            assert_eq!(log.time_unix_nano(), u64::MAX);
            match log.body() {
                ValueView::Int(number) => number,
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(read("\"-9223372036854775808\"").unwrap(), i64::MIN);
    assert_eq!(read("9223372036854775807").unwrap(), i64::MAX);
    assert_eq!(read("1.0").unwrap(), 1);
    for wrong in ["9223372036854775808", "\"\"", "\"+1\"", "1.5", "true", "\"0x1\"", "[]"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

/// JSON that is none, or that says two things at once, is refused; ids are hexadecimal of either case.
#[test]
fn json_is_strict() {
    let span = |fields: &str| {
        from_json(
            Signal::Traces,
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#).as_bytes(),
        )
    };
    let wire = span(r#""traceId":"5B8EFFF798038103d269b633813fc60c","unknown":{"a":[1]},"resource_spans":1"#).unwrap();
    let found = wire.resources().next().unwrap().scopes().next().unwrap().spans().next().unwrap();
    assert_eq!(found.trace_id()[..3], [0x5b, 0x8e, 0xff]);
    for wrong in [
        r#""traceId":"5B8EFFF798038103D269B633813FC60""#,
        r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#,
        r#""name":"a","name":"b""#,
        r#""kind":"SPAN_KIND_SERVER""#,
        r#""attributes":[{"key":"a","value":{"intValue":1,"stringValue":"b"}}]"#,
        r#""attributes":{}"#,
        r#""name":1"#,
    ] {
        assert!(span(wrong).is_err(), "{wrong}");
    }
    assert!(from_json(Signal::Traces, b"{} x").is_err());
    assert!(from_json(Signal::Traces, b"{\"resourceSpans\":").is_err());
    assert!(from_json(Signal::Traces, b"{\"resource_spans\":[{}]}").unwrap().is_empty());
}

/// A log body of 32 nested maps is admitted in both encodings, one of 33 is not, and one of 100000 harms nobody.
#[test]
fn nesting_is_limited_as_in_protobuf() {
    let body = |levels: usize| {
        let mut value = Vec::new();
        for _ in 0..levels {
            value = nested(6, &nested(1, &nested(2, &value)));
        }
        request(b"", &[&nested(5, &value)])
    };
    let wire = admitted(Signal::Logs, &body(32));
    assert_eq!(wire.decode().encode().unwrap().rope(), wire.rope());
    let text = to_json(&wire);
    assert_eq!(from_json(Signal::Logs, text.as_bytes()).unwrap().rope(), wire.rope());
    for levels in [33, 200] {
        assert_eq!(refused(Signal::Logs, &body(levels)).1, Fault::Depth, "{levels} levels");
    }
    // Lengths first, so that the message is linear in the depth.
    let levels = 100_000;
    let mut reversed: Vec<u8> = Vec::new();
    for key in [0x0a, 0x2a].into_iter().cycle().take(2 * levels) {
        let mut head = vec![key];
        varint(&mut head, reversed.len() as u64);
        reversed.extend(head.iter().rev());
    }
    reversed.reverse();
    assert_eq!(refused(Signal::Logs, &request(b"", &[&nested(5, &reversed)])).1, Fault::Depth);
    let open = r#"{"arrayValue":{"values":["#.repeat(levels);
    let text = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{open}"#);
    assert!(from_json(Signal::Logs, text.as_bytes()).is_err());
    let ignored = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(from_json(Signal::Logs, ignored.as_bytes()).is_ok());
}

/// What a transform nested too deeply is not encoded, because nobody could decode it again.
#[test]
fn structs_nested_too_deeply_are_refused() {
    let mut value = Vec::new();
    for _ in 0..32 {
        value = nested(6, &nested(1, &nested(2, &value)));
    }
    let Decoded::Logs(mut logs) = admitted(Signal::Logs, &request(b"", &[&nested(5, &value)])).decode() else {
        panic!("they are logs")
    };
    let record = &mut logs.resource_logs[0].scope_logs[0].log_records[0];
    let body = record.body.take().unwrap();
    let array = opentelemetry_proto::tonic::common::v1::ArrayValue { values: vec![body] };
    record.body = Some(opentelemetry_proto::tonic::common::v1::AnyValue {
        value: Some(opentelemetry_proto::tonic::common::v1::any_value::Value::ArrayValue(array)),
    });
    assert!(Decoded::Logs(logs).encode().is_err());
}

/// Small bodies cannot cost much: records need no memory of their own, entries are limited by size, and so are
/// repetitions; a request that was admitted comes in again however it was joined.
#[test]
fn amplification_is_bounded() {
    let records = 1_000_000;
    let wire = admitted(Signal::Logs, &nested(1, &nested(2, &[0x12, 0].repeat(records))));
    assert_eq!((wire.records(), wire.resource_count()), (records as u64, 1));
    assert!(wire.retained_bytes() < 3 * records);
    assert!(admitted(Signal::Logs, &[0x0a, 0].repeat(records)).is_empty());
    let smallest = request(b"", &[b""]);
    let many = smallest.repeat(10_000);
    let wire = admitted(Signal::Logs, &many);
    assert_eq!(refused(Signal::Logs, &smallest.repeat(40_000)).1, Fault::TooManyEntries);
    let joined = Wire::concat([wire.clone(), wire.clone(), wire]);
    assert_eq!(readmit(Signal::Logs, joined.rope().into_bytes()).unwrap().records(), 30_000);
    let again = nested(1, &[nested(1, b"").repeat(2000), nested(2, &nested(2, b""))].concat());
    assert_eq!(refused(Signal::Logs, &again).1, Fault::TooManyRepeats);
    let empty = nested(1, &nested(2, &[0x12, 0].repeat(2_000_000)));
    assert_eq!(refused(Signal::Logs, &empty).1, Fault::TooManyRecords);
    assert_eq!(readmit(Signal::Logs, empty.into()).unwrap().records(), 2_000_000);
}

/// A record with an id of a wrong length is left out and counted, wherever the id is; one without ids, or with an id of
/// zeros, stays.
#[test]
fn wrong_ids_cost_their_record_only() {
    let good = [nested(1, &[7; 16]), nested(2, &[7; 8])].concat();
    let zero = [nested(1, &[0; 16]), nested(2, &[0; 8])].concat();
    let short = [nested(1, &[7; 15]), nested(2, &[7; 8])].concat();
    let swapped = [nested(1, &[7; 8]), nested(2, &[7; 16])].concat();
    let parent = [&good[..], &nested(4, &[7; 9])].concat();
    let link = [&good[..], &nested(13, &short)].concat();
    let replaced = [&nested(2, &[7; 9])[..], &good].concat();
    let wire = admitted(
        Signal::Traces,
        &request(b"", &[&good, &short, &zero, &swapped, b"", &parent, &link, &replaced, &good]),
    );
    assert_eq!((wire.records(), wire.left_out()), (5, 4));
    assert_eq!(wire.decode().records(), 5);

    let log = |trace: usize, span: usize| [nested(9, &vec![7; trace]), nested(10, &vec![7; span])].concat();
    let wire = admitted(Signal::Logs, &request(b"", &[&log(16, 8), &log(32, 8), &log(0, 0), &log(16, 4)]));
    assert_eq!((wire.records(), wire.left_out()), (2, 2));

    let exemplar = |trace: usize| nested(5, &[nested(5, &vec![7; trace]), nested(4, &[7; 8])].concat());
    let gauge = nested(5, &[nested(1, &exemplar(16)), nested(1, &exemplar(17)), nested(1, b"")].concat());
    let wire = admitted(Signal::Metrics, &request(b"", &[&gauge]));
    assert_eq!((wire.records(), wire.left_out()), (2, 1));

    let all = admitted(Signal::Traces, &request(b"", &[&short]));
    assert_eq!((all.records(), all.left_out(), all.len()), (0, 1, 0));
}

/// What is larger than a step and cannot be divided is not begun without being asked for: a record, a Resource, a scope,
/// an unknown field, an entry in need of normalisation.
#[test]
fn long_work_is_announced() {
    let step = 1000;
    let large = attribute(6, "key", &"v".repeat(2 * step));
    let plain = request(b"", &[b"", &large, b""]);
    let of_resource =
        nested(1, &[nested(1, &attribute(1, "key", &"v".repeat(2 * step))), nested(2, &nested(2, b""))].concat());
    let of_scope =
        nested(1, &nested(2, &[nested(1, &attribute(3, "key", &"v".repeat(2 * step))), nested(2, b"")].concat()));
    let unknown = [nested(15, &vec![0; 2 * step]), request(b"", &[b""])].concat();
    let group = [&[15 << 3 | 3][..], &[0x08, 1].repeat(step), &[15 << 3 | 4], &request(b"", &[b""])].concat();
    let twice =
        nested(1, &[nested(1, b"").repeat(2), nested(2, &nested(2, &attribute(6, "a", "b")).repeat(step))].concat());
    for (body, long) in [(plain, 1), (of_resource, 1), (of_scope, 1), (unknown, 1), (group, 1), (twice, 1)] {
        let mut admission = Admission::new(Signal::Logs, Bytes::from(body.clone()));
        let mut met = 0;
        let wire = loop {
            match admission.step(step).unwrap() {
                Progress::More => {}
                Progress::Done(wire) => break wire,
                Progress::Long => {
                    met += 1;
                    match admission.step_long().unwrap() {
                        Progress::Done(wire) => break wire,
                        more => assert!(matches!(more, Progress::More)),
                    }
                }
            }
        };
        assert_eq!(met, long);
        assert_eq!(wire.records(), admitted(Signal::Logs, &body).records());
    }
}

/// A large key, or a million attributes, is an ordinary message.
#[test]
fn large_records_are_admitted_and_come_alone() {
    let large = attribute(6, &"k".repeat(1 << 20), "v");
    let wire = admitted(Signal::Logs, &request(b"", &[b"", &large, b""]));
    let parts = wire.split(&SplitLimits { max_bytes: 1000, max_records: 1000 });
    assert_eq!(parts.iter().map(Wire::records).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(parts[0].len() < 1000 && parts[1].len() > 1 << 20 && parts[2].len() < 1000);
    let attributes = attribute(6, "a", "b").repeat(200_000);
    assert_eq!(admitted(Signal::Logs, &request(b"", &[&attributes])).records(), 1);
}

/// Padded lengths, as encoders write that fill them in afterwards, are taken as they are.
#[test]
fn padded_lengths_are_ordinary() {
    let padded = |number: u32, content: &[u8]| {
        let len = content.len();
        let head = [(number << 3 | 2) as u8, len as u8 | 0x80, (len >> 7) as u8 | 0x80, 0x80, 0];
        [&head[..], content].concat()
    };
    let value = padded(2, &padded(1, b"value"));
    let record = padded(2, &[padded(3, b"INFO"), padded(6, &[padded(1, b"key"), value].concat())].concat());
    let resource = padded(1, &padded(1, &padded(1, b"host.name")));
    let body = padded(1, &[resource, padded(2, &[&record[..], &record].concat())].concat());
    let wire = admitted(Signal::Logs, &body);
    assert!(!wire.normalised());
    assert_eq!(wire.rope().into_bytes(), body);
    let edited = wire.edit_resources(&edits(&[("host.name", EditAction::Upsert(string("a")))]));
    assert_eq!(edited.resources().next().unwrap().get("host.name"), Some(ValueView::Str("a")));
    let (left, right) = edited.halve().unwrap();
    assert_eq!((left.decode().records(), right.decode().records()), (1, 1));
}

/// Names in snake_case are ignored like every unknown key, and told, because their writer expects otherwise.
#[test]
fn snake_case_is_told() {
    let told = |signal, text: &str| {
        let read = json::read(signal, text.as_bytes()).unwrap();
        (read.wire.records(), read.snake_case.map(|SnakeCase { first, keys }| (first, keys)))
    };
    assert_eq!(told(Signal::Traces, r#"{"resource_spans":[{}]}"#), (0, Some(("resource_spans", 1))));
    let nested = r#"{"resourceLogs":[{"schema_url":"x","scopeLogs":[{"logRecords":[{"trace_id":"00"},{"time_unix_nano":1}]}]}]}"#;
    assert_eq!(told(Signal::Logs, nested), (2, Some(("schema_url", 3))));
    // What the table does not know in any form, attribute keys, and what a value of an unknown key holds.
    let others =
        r#"{"resource_logs_2":1,"x":{"trace_id":1},"resourceLogs":[{"resource":{"attributes":[{"key":"trace_id"}]}}]}"#;
    assert_eq!(told(Signal::Logs, others), (0, None));
}
