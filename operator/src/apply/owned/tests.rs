//! What is kept where watches tell late, twice, or of an object that is another one by now.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use futures::FutureExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::super::kinds::scopes;
use super::super::{APPLIED, FIELD_MANAGER};
use super::*;

/// What a watch tells of the only object of these tests.
fn seen(uid: &str, version: &str, hash: &str, fields: &str) -> Seen {
    let metadata: ObjectMeta = serde_json::from_value(json!({
        "uid": uid, "resourceVersion": version, "annotations": { APPLIED: hash },
        "managedFields": [
            { "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:spec": {} } },
            { "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": { "f:metadata": { fields: {} } } },
        ],
    }))
    .unwrap();
    Seen::of(&metadata)
}

/// The only object, and the objects that are known: it was applied at version 10.
fn applied() -> (Key, Owned) {
    let scopes = scopes(&["shop".to_owned()]);
    let scope = scopes.iter().find(|scope| scope.kind().name == "Secret").unwrap().clone();
    let owned = Owned::new(&scopes);
    let key = Key { scope, name: "config".to_owned() };
    owned.applied(key.clone(), "h".to_owned(), seen("a", "10", "h", "f:labels"));
    (key, owned)
}

fn was_told(owned: &Owned) -> bool {
    owned.changed().now_or_never().is_some()
}

/// A change of others is told and makes the object one that is not as it was applied; a report of a controller is none.
#[test]
fn changes_of_others_are_told() {
    let (key, owned) = applied();
    assert!(owned.is_as_applied(&key, "h"));
    assert!(!owned.is_as_applied(&key, "other"));
    owned.saw(key.clone(), seen("a", "11", "h", "f:labels"));
    assert!(owned.is_as_applied(&key, "h") && !was_told(&owned));
    let changes = [seen("a", "12", "h", "f:other"), seen("a", "12", "x", "f:labels"), seen("b", "12", "h", "f:labels")];
    for change in changes {
        let (key, owned) = applied();
        owned.saw(key.clone(), change);
        assert!(!owned.is_as_applied(&key, "h") && was_told(&owned));
    }
    owned.lost(&key, &seen("a", "13", "h", "f:labels"));
    assert!(!owned.is_as_applied(&key, "h") && was_told(&owned));
    assert_eq!(owned.get(&key), None);
}

/// What a watch tells late, of a time before we wrote, changes nothing and is not told; also where the object was deleted
/// and made again.
#[test]
fn late_news_is_no_news() {
    let (key, owned) = applied();
    owned.saw(key.clone(), seen("a", "9", "old", "f:other"));
    owned.lost(&key, &seen("before", "8", "old", "f:labels"));
    owned.listed(&key.scope.clone(), vec![(key.clone(), seen("a", "7", "old", "f:other"))]);
    assert!(owned.is_as_applied(&key, "h") && !was_told(&owned));
    assert_eq!(owned.all().len(), 1);
}

/// A list without an object tells that it is gone, and objects of other scopes stay.
#[test]
fn a_list_is_complete() {
    let (key, owned) = applied();
    let elsewhere = scopes(&["shop".to_owned()]).into_iter().find(|scope| *scope != key.scope).unwrap();
    owned.listed(&elsewhere, Vec::new());
    assert!(owned.is_as_applied(&key, "h") && !was_told(&owned));
    owned.listed(&key.scope.clone(), Vec::new());
    assert!(!owned.is_as_applied(&key, "h") && was_told(&owned));
}

/// Nothing is known to be complete before the first list, so nothing of it can be taken away; who waits for the lists is told
/// which one fails and why, and a list that succeeded once stays known.
#[tokio::test(start_paused = true)]
async fn what_is_not_listed_is_told() {
    let (key, owned) = applied();
    assert_eq!(owned.all(), []);
    for scope in scopes(&["shop".to_owned()]) {
        if scope != key.scope {
            owned.listed(&scope, Vec::new());
            owned.failing(&scope, "late".to_owned());
        }
    }
    let told = owned.settled().await;
    let reason = "no answer within 30 s".to_owned();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.to_string(), &told[0].1), ("Secret shop/*".to_owned(), &ApplyError::Unobserved(reason)));
    owned.failing(&key.scope, "no right".to_owned());
    assert_eq!(owned.settled().await[0].1, ApplyError::Unobserved("no right".to_owned()));
    owned.listed(&key.scope.clone(), Vec::new());
    assert_eq!(owned.settled().await, []);
}
