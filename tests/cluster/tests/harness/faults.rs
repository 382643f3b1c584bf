//! What the proxy in front of the API server does, seen by the client that operators use.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::faults::{Fault, Gate, Rule, When};
use cluster::{ControlPlane, FaultProxy, or_skip, wait_until};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::client::Body;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::LIMIT;

/// A namespace of the shared control plane, and a proxy in front of it.
struct Stage {
    proxy: FaultProxy,
    direct: Api<ConfigMap>,
    path: String,
}

impl Stage {
    async fn new() -> Option<Self> {
        let control_plane = or_skip(ControlPlane::shared().await)?;
        let namespace = control_plane.namespace("faults").await.unwrap();
        let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
        let direct = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
        // The controllers put the first one there; what comes after it is the test's.
        wait_until("the certificate", LIMIT, async || direct.get_opt("kube-root-ca.crt").await.unwrap()).await.unwrap();
        Some(Self { proxy, direct, path: format!("/api/v1/namespaces/{namespace}/configmaps") })
    }

    async fn create(&self, name: &str) {
        let map = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        self.direct.create(&PostParams::default(), &map).await.unwrap();
    }

    async fn through(&self) -> Client {
        self.proxy.client().await.unwrap()
    }

    async fn get(&self, query: &str) -> Result<http::Response<Body>, kube::Error> {
        let request = Request::get(format!("{}{query}", self.path)).body(Body::empty()).unwrap();
        self.through().await.send(request).await
    }

    /// What comes back for a request on a connection of its own, as text.
    async fn get_by_hand(&self) -> String {
        let mut stream = TcpStream::connect(self.proxy.address()).await.unwrap();
        let request = format!("GET {} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n", self.path);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A watch that meets these faults, one after the other, must still see everything: objects from before, those that
    /// come while it is away, and those after.
    async fn watch_recovers_from(&self, faults: Vec<Fault>) {
        self.create("before").await;
        let cuts = Rule::new(Fault::Close(When::AfterEvents(1))).path(&self.path).watches().times(1);
        let cut = self.proxy.add(cuts);
        let mut hits = Vec::new();
        for (skipped, fault) in faults.into_iter().enumerate() {
            hits.push(self.proxy.add(Rule::new(fault).path(&self.path).watches().skip(1 + skipped).times(1)));
        }
        let namespace = self.path.split('/').nth(4).unwrap();
        let maps = Api::<ConfigMap>::namespaced(self.through().await, namespace);
        let events = watcher(maps, watcher::Config::default()).default_backoff().applied_objects();
        let mut names = pin!(events.filter_map(async |event| event.ok().and_then(|map| map.metadata.name)));
        let mut saw = async |wanted: &str| {
            let seen = async { while names.next().await.expect("a watcher has no end") != wanted {} };
            tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("no event of {wanted}"));
        };
        saw("before").await;
        // The only event of the first watch, after which it is cut.
        self.create("during").await;
        saw("during").await;
        self.create("after").await;
        saw("after").await;
        assert_eq!(cut.count(), 1);
        assert!(hits.iter().all(|hits| hits.count() == 1), "{hits:?}");
    }

    fn lists(&self) -> usize {
        self.proxy.seen().iter().filter(|seen| seen.path == self.path && !seen.is_watch && seen.method == "GET").count()
    }
}

async fn text(body: Body) -> Result<String, kube::Error> {
    let bytes: Vec<Bytes> = body.into_data_stream().try_collect().await?;
    Ok(String::from_utf8(bytes.concat()).unwrap())
}

/// A watch that is told that its resource version is too old lists again and misses nothing.
#[tokio::test]
async fn a_watch_recovers_from_410() {
    let Some(stage) = Stage::new().await else { return };
    stage.watch_recovers_from(vec![Fault::ExpiredEvent]).await;
    assert_eq!(stage.lists(), 2, "{:?}", stage.proxy.seen());
}

/// The scripted event of 410 is the API server's own, but for its message: one that was started again knows no changes
/// from before, and says so to a watch that asks for them.
#[tokio::test]
async fn the_event_of_410_is_the_real_one() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    control_plane.namespace("before").await.unwrap();
    control_plane.restart_api_server().await.unwrap();
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let client = proxy.client().await.unwrap();
    let event = async || {
        let request = Request::get("/api/v1/namespaces?watch=true&resourceVersion=1&timeoutSeconds=5");
        let answer = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
        let text = text(answer.into_body()).await.unwrap();
        let mut event: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let message = event["object"]["message"].take();
        (event, message.as_str().unwrap_or_default().to_owned())
    };
    let (real, message) = event().await;
    assert!(message.starts_with("too old resource version: 1 "), "{real} {message}");
    proxy.add(Rule::new(Fault::ExpiredEvent).watches());
    let (scripted, message) = event().await;
    assert!(message.starts_with("the proxy was told"), "{message}");
    assert_eq!(scripted, real);
}

/// Refusals before the stream, a reset and a wait: the watch is tried again, without a list for any of them.
#[tokio::test]
async fn a_watch_recovers_from_what_passes() {
    let Some(stage) = Stage::new().await else { return };
    let faults = vec![
        Fault::Answer { status: 410, retry_after: None },
        Fault::Answer { status: 500, retry_after: None },
        Fault::Reset(When::AtOnce),
        Fault::Delay(Duration::from_millis(20)),
    ];
    stage.watch_recovers_from(faults).await;
    assert_eq!(stage.lists(), 1, "{:?}", stage.proxy.seen());
}

/// 429 says when to come again, as API servers do; the rule's number of times over, the same request is answered. Without
/// a client that would come again by itself.
#[tokio::test]
async fn too_many_requests_say_when_to_come_again() {
    let Some(stage) = Stage::new().await else { return };
    let fault = Fault::Answer { status: 429, retry_after: Some(Duration::from_secs(3)) };
    stage.proxy.add(Rule::new(fault).method(Method::GET).times(1));
    let refused = stage.get_by_hand().await;
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
    assert!(head.contains("\r\nretry-after: 3\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["reason"], &body["details"]["retryAfterSeconds"]), (&json!("TooManyRequests"), &json!(3)));
    let answered = stage.get_by_hand().await;
    assert!(answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.contains("ConfigMapList"), "{answered}");
}

/// Without a rule everything arrives as the API server sends it, whatever its length; with `Slow` too, only later.
#[tokio::test]
async fn what_meets_no_rule_passes_unchanged() {
    let Some(stage) = Stage::new().await else { return };
    stage.create("one").await;
    let direct = stage.direct.get("one").await.unwrap();
    let namespace = stage.path.split('/').nth(4).unwrap();
    let through = Api::<ConfigMap>::namespaced(stage.through().await, namespace);
    assert_eq!(through.get("one").await.unwrap(), direct);
    let pause = Duration::from_millis(30);
    let hits = stage.proxy.add(Rule::new(Fault::Slow(pause)));
    let began = Instant::now();
    assert_eq!(through.get("one").await.unwrap(), direct);
    assert!(began.elapsed() >= pause, "a piece came in {:?}", began.elapsed());
    assert_eq!(hits.count(), 1);
    stage.proxy.clear();
    through.get("one").await.unwrap();
    assert_eq!(hits.count(), 1);
}

/// A watch that is due a bookmark at once gets it, and gets none where the rule says so; its other events stay.
#[tokio::test]
async fn bookmarks_can_be_kept_back() {
    let Some(stage) = Stage::new().await else { return };
    let query = "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=3";
    let with = text(stage.get(query).await.unwrap().into_body()).await.unwrap();
    stage.proxy.add(Rule::new(Fault::NoBookmarks).watches());
    let without = text(stage.get(query).await.unwrap().into_body()).await.unwrap();
    let count = |text: &str, kind: &str| text.matches(&format!("{{\"type\":\"{kind}\"")).count();
    assert!(count(&with, "BOOKMARK") > 0, "{with}");
    assert_eq!(count(&without, "BOOKMARK"), 0, "{without}");
    assert!(count(&without, "ADDED") > 0);
    assert_eq!(count(&without, "ADDED"), count(&with, "ADDED"));
}

/// A watch is cut after its time in the midst of the stream, a connection is reset before an answer, and one that hangs
/// ends when all are cut.
#[tokio::test]
async fn connections_end_as_they_are_told() {
    let Some(stage) = Stage::new().await else { return };
    stage.proxy.add(Rule::new(Fault::Reset(When::After(Duration::from_millis(300)))).watches().times(1));
    // On a slow machine the time may be over before the stream begins.
    let ended = async { text(stage.get("?watch=true").await?.into_body()).await };
    assert!(ended.await.is_err(), "the stream ended as if it were complete");
    stage.proxy.add(Rule::new(Fault::Close(When::AtOnce)).not_watches().times(1));
    assert!(stage.get("").await.is_err(), "it was answered");
    let hang = stage.proxy.add(Rule::new(Fault::Hang).times(1));
    let mut hanging = pin!(stage.get("?limit=1"));
    let hung = wait_until("the request hangs", LIMIT, async || (hang.count() == 1).then_some(()));
    tokio::select! {
        answer = &mut hanging => panic!("it was answered: {:?}", answer.map(|answer| answer.status())),
        hung = hung => hung.unwrap(),
    }
    stage.proxy.cut_all();
    assert!(hanging.await.is_err(), "it was answered");
    assert_eq!(stage.get("").await.unwrap().status(), 200, "new connections are welcome");
}

/// A held request is done when its gate opens, though whoever asked has gone, and not before.
#[tokio::test]
async fn a_held_request_arrives_late() {
    let Some(stage) = Stage::new().await else { return };
    let gate = Gate::closed();
    let held = stage.proxy.add(Rule::new(Fault::Held(gate.clone())).method(Method::POST).times(1));
    let namespace = stage.path.split('/').nth(4).unwrap();
    let through = Api::<ConfigMap>::namespaced(stage.through().await, namespace);
    let map = serde_json::from_value(json!({ "metadata": { "name": "late" } })).unwrap();
    let parameters = PostParams::default();
    let under_way = wait_until("the request is under way", LIMIT, async || (held.count() == 1).then_some(()));
    tokio::select! {
        created = through.create(&parameters, &map) => panic!("it was answered: {created:?}"),
        under_way = under_way => under_way.unwrap(),
    }
    assert_eq!(stage.direct.get_opt("late").await.unwrap(), None);
    gate.open();
    wait_until("it is done", LIMIT, async || stage.direct.get_opt("late").await.unwrap()).await.unwrap();
}
