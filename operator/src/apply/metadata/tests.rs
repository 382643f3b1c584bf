//! Whose an object is, and what of it has changed, by its metadata alone.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::json;

use super::*;

fn metadata(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

fn manager(name: &str, operation: &str) -> Value {
    json!({ "manager": name, "operation": operation, "fieldsV1": { "f:spec": { "f:replicas": {} } } })
}

/// An object is ours by our label, or by our fields where the label is gone; never where another installation's label is.
#[test]
fn ours_is_told_by_label_and_fields() {
    let ours = manager(FIELD_MANAGER, "Apply");
    let cases = [
        (json!({ "labels": { OWNED_BY: "a" } }), true),
        (json!({ "labels": { OWNED_BY: "b" }, "managedFields": [ours] }), false),
        (json!({ "managedFields": [manager("kubectl", "Apply"), ours] }), true),
        (json!({ "managedFields": [manager(FIELD_MANAGER, "Update")] }), false),
        (json!({ "managedFields": [manager("kubectl", "Apply")] }), false),
        (json!({}), false),
    ];
    for (value, expected) in cases {
        let metadata = metadata(value.clone());
        assert_eq!(is_ours(&metadata, "a"), expected, "{value}");
        assert_eq!(has_label(&metadata, "a"), value["labels"][OWNED_BY] == "a", "{value}");
    }
}

/// A new version alone is no change of ours where the spec is counted; without such a count it may be one.
#[test]
fn reports_of_controllers_are_no_change() {
    let seen = |version: &str, generation: Option<i64>, applied: &str| {
        Seen::of(&metadata(json!({
            "uid": "u", "resourceVersion": version, "generation": generation, "annotations": { APPLIED: applied },
            "managedFields": [manager(FIELD_MANAGER, "Apply")],
        })))
    };
    assert!(seen("1", Some(1), "h").has_same_of_ours(&seen("2", Some(1), "h")));
    assert!(!seen("1", Some(1), "h").has_same_of_ours(&seen("2", Some(2), "h")));
    assert!(!seen("1", Some(1), "h").has_same_of_ours(&seen("2", Some(1), "i")));
    assert!(!seen("1", None, "h").has_same_of_ours(&seen("2", None, "h")));
    assert!(seen("9", None, "h").is_before(&seen("10", None, "h")));
    assert!(seen("1", None, "h").manages_replicas);
}

/// Different values have different fingerprints, and the order of keys does not count.
#[test]
fn fingerprints_tell_values_apart() {
    let values = [
        json!({ "a": 1, "b": 2 }),
        json!({ "a": 1 }),
        json!({ "a": "1" }),
        json!({ "a": [1] }),
        json!({ "a": { "1": null } }),
        json!(["a", "b"]),
        json!(["ab"]),
        json!([["a"], "b"]),
        json!("ab"),
        json!(null),
        json!("null"),
    ];
    for (left, this) in values.iter().enumerate() {
        for (right, that) in values.iter().enumerate() {
            assert_eq!(Fingerprint::of(this) == Fingerprint::of(that), left == right, "{this} {that}");
        }
    }
    assert_eq!(Fingerprint::of(&json!({ "b": 2, "a": 1 })), Fingerprint::of(&values[0]));
    assert_eq!(Fingerprint::of(&values[0]).hex().len(), 32);
}
