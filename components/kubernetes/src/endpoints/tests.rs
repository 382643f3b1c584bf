//! What is made of slices, and what whoever follows a Service is told.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::{Value, json};

use super::*;

fn options(family: AddressFamily) -> EndpointOptions {
    EndpointOptions { namespace: "telemetry".into(), service: "gateway".into(), port: "peers".into(), family }
}

/// A slice of one family whose port `peers` is 4400.
fn slice(name: &str, address_type: &str, endpoints: Value) -> EndpointSliceObject {
    let ports = json!([{ "name": "otlp", "port": 4317, "protocol": "TCP" }, { "name": "peers", "port": 4400 }]);
    let object = json!({
        "metadata": { "name": name }, "addressType": address_type, "endpoints": endpoints, "ports": ports,
    });
    serde_json::from_value(object).unwrap()
}

fn ready_at(address: &str) -> Value {
    json!({ "addresses": [address], "conditions": { "ready": true, "serving": true, "terminating": false } })
}

/// What is told of these events: the addresses after the last one that completes anything.
fn addresses(slices: &mut Slices, events: Vec<Event<EndpointSliceObject>>) -> Option<Vec<String>> {
    let told =
        events.into_iter().fold(None, |before, event| slices.take(event, &options(AddressFamily::Both)).or(before));
    Some(told?.iter().map(|endpoint| endpoint.address.to_string()).collect())
}

/// Endpoints of all slices stand in the order of their addresses, each once, with what is known of them.
#[test]
fn slices_are_joined() {
    let mut slices = Slices::default();
    let of_a_pod = json!({
        "addresses": ["10.1.0.20", "10.1.0.21"], "conditions": { "ready": true }, "hostname": "gateway-0",
        "nodeName": "node-1", "zone": "eu-1a", "targetRef": { "kind": "Pod", "name": "gateway-0" },
    });
    let listed = [
        Event::Init,
        Event::InitApply(slice("b", "IPv4", json!([ready_at("10.1.0.3"), of_a_pod]))),
        Event::InitApply(slice("a", "IPv6", json!([ready_at("2001:db8::1")]))),
        Event::InitApply(slice("c", "IPv4", json!([ready_at("10.1.0.3"), ready_at("10.1.0.1")]))),
    ];
    for event in listed {
        assert_eq!(slices.take(event, &options(AddressFamily::Both)), None, "the list is not complete");
    }
    let joined = slices.take(Event::InitDone, &options(AddressFamily::Both)).unwrap();
    let addresses: Vec<_> = joined.iter().map(|endpoint| endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["10.1.0.1:4400", "10.1.0.3:4400", "10.1.0.20:4400", "[2001:db8::1]:4400"]);
    let pod = Endpoint {
        address: "10.1.0.20:4400".parse().unwrap(),
        hostname: Some("gateway-0".into()),
        node: Some("node-1".into()),
        zone: Some("eu-1a".into()),
    };
    assert_eq!(joined[2], pod);
    assert_eq!((&joined[0].hostname, &joined[0].node, &joined[0].zone), (&None, &None, &None));
}

/// Only those that are ready count: nothing said is ready, and one that is ending is not, whatever it is said to be.
#[test]
fn only_the_ready_ones() {
    for (conditions, is_ready) in [
        (json!({ "ready": true }), true),
        (json!({ "ready": false, "serving": true, "terminating": true }), false),
        (json!({ "ready": false }), false),
        (json!({ "ready": true, "serving": true, "terminating": true }), false),
        (json!({ "ready": null }), true),
        (json!({}), true),
        (Value::Null, true),
    ] {
        let endpoints = json!([{ "addresses": ["10.1.0.1"], "conditions": conditions }]);
        let found = ready_of(&slice("a", "IPv4", endpoints), &options(AddressFamily::Both));
        assert_eq!(found.len(), usize::from(is_ready), "{conditions}");
    }
}

/// Each family is there for who wants it, names of hosts are not, and what cannot be read is no endpoint.
#[test]
fn families() {
    let slices = [
        slice("four", "IPv4", json!([ready_at("10.1.0.1"), ready_at("10.1"), { "addresses": [] }])),
        slice("six", "IPv6", json!([ready_at("2001:db8::1")])),
        slice("names", "FQDN", json!([ready_at("gateway.example.com"), ready_at("10.1.0.2")])),
    ];
    for (family, expected) in [
        (AddressFamily::Ipv4, &["10.1.0.1:4400"][..]),
        (AddressFamily::Ipv6, &["[2001:db8::1]:4400"]),
        (AddressFamily::Both, &["10.1.0.1:4400", "[2001:db8::1]:4400"]),
    ] {
        let found = slices.iter().flat_map(|slice| ready_of(slice, &options(family)));
        assert_eq!(found.map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>(), expected, "{family:?}");
    }
}

/// The port is found by its name in each slice; one without a name is that of a Service whose only port has none.
#[test]
fn ports() {
    let found = |name: &str, ports: Value| {
        let object = json!({
            "metadata": { "name": "a" }, "addressType": "IPv4", "endpoints": [ready_at("10.1.0.1")], "ports": ports,
        });
        let options = EndpointOptions { port: name.to_owned(), ..options(AddressFamily::Both) };
        let ready = ready_of(&serde_json::from_value(object).unwrap(), &options);
        ready.first().map(|endpoint| endpoint.address.port())
    };
    assert_eq!(found("peers", json!([{ "name": "otlp", "port": 1 }, { "name": "peers", "port": 2 }])), Some(2));
    assert_eq!(found("peers", json!([{ "name": "otlp", "port": 1 }])), None);
    assert_eq!(found("", json!([{ "name": "", "port": 3 }])), Some(3));
    assert_eq!(found("", json!([{ "port": 4 }])), Some(4));
    assert_eq!(found("", json!([{ "name": "" }])), None, "all ports are none");
    assert_eq!(found("peers", Value::Null), None);
    assert_eq!(found("peers", json!([])), None);
}

/// Slices change and go, also between two lists: what a list does not name is gone, and until it is complete all stays.
#[test]
fn changes_and_lists() {
    let mut slices = Slices::default();
    let of = |name: &str, number: u8| slice(name, "IPv4", json!([ready_at(&format!("10.1.0.{number}"))]));
    assert_eq!(addresses(&mut slices, vec![Event::Init, Event::InitDone]), Some(vec![]));
    let told = addresses(&mut slices, vec![Event::Apply(of("a", 1)), Event::Apply(of("b", 2))]);
    assert_eq!(told.unwrap(), ["10.1.0.1:4400", "10.1.0.2:4400"]);
    assert_eq!(addresses(&mut slices, vec![Event::Apply(of("a", 3))]).unwrap(), ["10.1.0.2:4400", "10.1.0.3:4400"]);
    assert_eq!(addresses(&mut slices, vec![Event::Delete(of("b", 2))]).unwrap(), ["10.1.0.3:4400"]);
    let empty =
        serde_json::from_value(json!({ "metadata": { "name": "b" }, "endpoints": null, "ports": null })).unwrap();
    assert_eq!(addresses(&mut slices, vec![Event::Apply(empty)]).unwrap(), ["10.1.0.3:4400"]);
    // A list that breaks off is followed by another one.
    let broken = vec![Event::Init, Event::InitApply(of("c", 4)), Event::Init, Event::InitApply(of("d", 5))];
    assert_eq!(addresses(&mut slices, broken), None);
    assert_eq!(addresses(&mut slices, vec![Event::InitDone]).unwrap(), ["10.1.0.5:4400"]);
}

/// Whoever follows is told once of each change, and not of what changes nothing.
#[test]
fn only_news_is_told() {
    let (sender, mut receiver) = watch::channel(None);
    assert!(receiver.borrow().is_none());
    let mut slices = Slices::default();
    let mut tell_of = |event| {
        if let Some(ready) = slices.take(event, &options(AddressFamily::Both)) {
            tell(&sender, ready);
        }
        let has_changed = receiver.has_changed().unwrap();
        receiver.mark_unchanged();
        has_changed
    };
    let of = |name: &str| slice(name, "IPv4", json!([ready_at("10.1.0.1")]));
    assert!(!tell_of(Event::Init));
    assert!(tell_of(Event::InitDone), "there are none, and that is known now");
    assert!(tell_of(Event::Apply(of("a"))));
    assert!(!tell_of(Event::Apply(of("a"))));
    assert!(!tell_of(Event::Apply(of("b"))), "it moves from one slice to another");
    assert!(!tell_of(Event::Delete(of("a"))));
    assert!(tell_of(Event::Delete(of("b"))));
    assert_eq!(receiver.borrow().as_deref(), Some(&[][..]));
}
