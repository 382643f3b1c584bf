//! What is read agrees with `serde_json`, member by member.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value as Json;

use super::*;

/// The members as `KeyValue`s, by way of the wire.
fn read(text: &[u8]) -> Option<Vec<KeyValue>> {
    let mut members = Members::default();
    // Nothing of what was read before is left.
    members.read(b"{\"left\":[\"\\u0041\",{\"over\":1}],\"left\":2}").unwrap();
    members.read(text).ok()?;
    let decoded = members.iter(text).map(|member| {
        let mut wire = Vec::new();
        member.value.put_attribute(6, member.key, &mut wire);
        let (len, width) = crate::protobuf::varint(&wire[1..]).unwrap();
        assert_eq!(1 + width + usize::try_from(len).unwrap(), wire.len());
        KeyValue::decode(&wire[1 + width..]).unwrap()
    });
    let decoded: Vec<KeyValue> = decoded.collect();
    for place in 0..members.len() {
        assert!(members.key(place, text).is_none_or(|key| hash_of_key(key) == members.key_hash(place)));
    }
    let mut wire = Vec::new();
    (0..members.len()).for_each(|place| members.put_attribute(place, text, 6, &mut wire));
    let attributes = LogRecord::decode(&wire[..]).unwrap().attributes;
    assert_eq!(attributes, decoded, "both ways to write say the same");
    Some(decoded)
}

/// Whether a value says what JSON says.
fn same(value: &AnyValue, json: &Json, depth: usize) -> bool {
    match (&value.value, json) {
        (None, Json::Null) => true,
        (Some(any_value::Value::BoolValue(found)), Json::Bool(expected)) => found == expected,
        (Some(any_value::Value::IntValue(found)), Json::Number(number)) => {
            number.as_i64() == Some(*found) || (*found == 0 && number.as_f64() == Some(0.0))
        }
        (Some(any_value::Value::DoubleValue(found)), Json::Number(number)) => {
            number.as_i64().is_none() && number.as_f64() == Some(*found)
        }
        (Some(any_value::Value::StringValue(found)), Json::String(expected)) => found == expected,
        (Some(any_value::Value::StringValue(found)), Json::Object(_) | Json::Array(_)) => {
            depth >= LEVELS && serde_json::from_str::<Json>(found).unwrap() == *json
        }
        (Some(any_value::Value::ArrayValue(found)), Json::Array(expected)) => {
            found.values.len() == expected.len()
                && found.values.iter().zip(expected).all(|(found, expected)| same(found, expected, depth + 1))
        }
        (Some(any_value::Value::KvlistValue(found)), Json::Object(expected)) => {
            found.values.len() == expected.len()
                && found.values.iter().all(|member| {
                    let expected = expected.get(&member.key);
                    expected.is_some_and(|expected| same(member.value.as_ref().unwrap(), expected, depth + 1))
                })
        }
        _ => false,
    }
}

/// The text with quotes around numbers that no double can hold: `serde_json` refuses those, and here they stay texts.
fn with_texts_for_large_numbers(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len());
    let (mut at, mut is_in_string) = (0, false);
    while at < text.len() {
        let of_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let end = at + text[at..].iter().take_while(of_number).count();
        let number = std::str::from_utf8(&text[at..end]).unwrap();
        if !is_in_string && number.parse::<f64>().is_ok_and(f64::is_infinite) {
            quoted.extend([b"\"", number.as_bytes(), b"\""].concat());
            at = end;
            continue;
        }
        let end = end.max(at + 1);
        let is_escape = is_in_string && text[at] == b'\\';
        is_in_string ^= text[at] == b'"';
        let end = if is_escape { (at + 2).min(text.len()) } else { end };
        quoted.extend(&text[at..end]);
        at = end;
    }
    quoted
}

/// Checks a text against `serde_json`.
fn check(text: &[u8]) {
    let expected = serde_json::from_slice::<Json>(&with_texts_for_large_numbers(text)).ok().filter(Json::is_object);
    match (read(text), expected) {
        (None, None) => {}
        (Some(found), Some(Json::Object(expected))) => {
            assert_eq!(found.len(), expected.len(), "{}", String::from_utf8_lossy(text));
            for member in found {
                let json = &expected[&member.key];
                assert!(same(member.value.as_ref().unwrap(), json, 0), "{member:?} {json}");
            }
        }
        (found, expected) => panic!("{} is {found:?}, expected {expected:?}", String::from_utf8_lossy(text)),
    }
}

/// Kinds of values, white space, escapes, limits of numbers, and what is no JSON.
#[test]
fn agrees_with_serde_json_on_cases() {
    for text in [
        "{}",
        " { } ",
        r#"{"a":1}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":1,"b":{"c":[1,2]},"d":0,"b":"last"}}"#,
        r#"{ "a" : [ ] , "b" : { } , "c" : [ [ ] , { } , null ] }"#,
        r#"{"text":"a\"b\\c\/d\b\f\n\r\t\u00e9\ud83d\ude00","k\u0065y":"é"}"#,
        r#"{"k\u0065y":1,"key":2,"in":{"k\u0065y":1,"key":2}}"#,
        r#"{"a":-9223372036854775808,"b":9223372036854775807,"c":9223372036854775808,"d":18446744073709551616}"#,
        r#"{"a":-2.5e311,"b":[1e400,"1e400"],"c":{"d":9e999},"e":1e308,"1e999":"\"1e999"}"#,
        r#"{"a":2e311e1}"#,
        r#"{"a":1.5,"b":-0,"c":1e3,"d":1e-7,"e":123456789.123456789,"f":0.1}"#,
        r#"{"a":true,"b":false,"c":null}"#,
        "{\"a\":\"\t\"}",
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":+1}"#,
        r#"{"a":tru}"#,
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{,}"#,
        r#"{"a":1"#,
        r#"{"a":[1,}"#,
        r#"{"a":[1 2]}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"unended}"#,
        r#"{"a":1}x"#,
        r#"[1]"#,
        r#""a""#,
        "",
        "{",
        r#"{'a':1}"#,
    ] {
        check(text.as_bytes());
    }
    check(b"{\"a\":\"\xff\"}");
}

/// Values of more than 127 bytes have longer lengths, at every level.
#[test]
fn long_values() {
    for len in [100, 126, 127, 128, 129, 300, 16_383, 16_384, 70_000] {
        let long = "x".repeat(len);
        check(format!(r#"{{"{long}":{{"{long}":[["{long}"],"{long}"]}},"b":"{long}\n"}}"#).as_bytes());
    }
}

/// What is nested too deeply stays text and is still checked; what is nested less is a value.
#[test]
fn deep_values_stay_text() {
    for depth in [1, LEVELS - 1, LEVELS, LEVELS + 1, 60] {
        let text = format!(r#"{{"a":{}1{}}}"#, r#"{"b":["#.repeat(depth), "]}".repeat(depth));
        check(text.as_bytes());
        check(&text.as_bytes()[..text.len() - 1]);
    }
    let very = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let found = read(very.as_bytes()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(read(&very.as_bytes()[..very.len() - 2]), None);
}

/// A number that no double holds stays its text.
#[test]
fn endless_numbers_stay_text() {
    let found = read(br#"{"a":1e999,"b":-1e999}"#).unwrap();
    let texts: Vec<_> = found.into_iter().map(|member| member.value.unwrap().value.unwrap()).collect();
    let text = |text: &str| any_value::Value::StringValue(text.to_owned());
    assert_eq!(texts, [text("1e999"), text("-1e999")]);
}

/// Of very many keys the last of equal ones counts, and it does not take long to find out.
#[test]
fn many_keys() {
    let members: Vec<String> = (0..60_000).map(|index| format!("\"k{}\":{index}", index % 30_000)).collect();
    let object = format!("{{{}}}", members.join(","));
    check(object.as_bytes());
    check(format!("{{\"in\":{object}}}").as_bytes());
}

fn json(depth: u32) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no infinity", |number| number.is_finite()).prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(depth, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec(("[a-d\"é]{0,2}", inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// Whatever `serde_json` writes is read the same, and so is every beginning of it, and every text of its tokens.
    #[test]
    fn agrees_with_serde_json(value in json(6), cut in any::<prop::sample::Index>(), is_pretty in any::<bool>()) {
        let object = serde_json::json!({ "value": value, "a": 1 });
        let text = if is_pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
        check(text.as_bytes());
        check(&text.as_bytes()[..cut.index(text.len())]);
    }

    #[test]
    fn agrees_with_serde_json_on_tokens(tokens in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\n\"", "1", "-2.5e3", "true", "null", " ",
    ]), 0..14)) {
        check(format!("{{\"a\":{}}}", tokens.concat()).as_bytes());
        check(tokens.concat().as_bytes());
    }
}
