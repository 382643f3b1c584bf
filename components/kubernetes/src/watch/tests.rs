//! Lists and watches against a server that answers as a test has written down, in a time that passes by itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::object::PodObject;
use crate::protobuf::tests::{page_of, pod_of, refusal_of};

/// An answer, and how long after the request it comes.
enum Answer {
    /// A page in JSON: the version, the token of the next one, the names of pods.
    Json(&'static str, &'static str, &'static [&'static str]),
    /// The same in protobuf.
    Protobuf(&'static str, &'static str, &'static [&'static str]),
    /// The same, which breaks off after so many bytes.
    Broken(&'static str, &'static str, &'static [&'static str], usize),
    /// A refusal in JSON.
    Refused(u16),
    /// A refusal in protobuf.
    RefusedInProtobuf(u16),
    /// A watch that tells this and ends.
    Watch(Vec<Value>),
    /// A watch that tells this and goes on in silence.
    Silent(Vec<Value>),
}

use Answer::{Broken, Json, Protobuf, Refused, RefusedInProtobuf, Silent, Watch};

/// What happened: requests, and what was told.
type Log = Arc<Mutex<Vec<String>>>;

fn pod_in_json(name: &str, version: &str) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version } })
}

fn event(kind: &str, name: &str, version: &str) -> Value {
    json!({ "type": kind, "object": pod_in_json(name, version) })
}

fn bookmark(version: &str) -> Value {
    json!({ "type": "BOOKMARK",
            "object": { "kind": "Pod", "apiVersion": "v1", "metadata": { "resourceVersion": version } } })
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": format!("no {code}") })
}

fn body_of(bytes: Vec<u8>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

impl Answer {
    fn response(self) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
        const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
        let in_protobuf = |version, more, names: &[&str]| {
            page_of("PodList", version, more, names.iter().map(|name| pod_of(name, "1", 5000)).collect())
        };
        let lines = |events: Vec<Value>| events.iter().map(|event| format!("{event}\n")).collect::<String>();
        let (status_code, content_type, body) = match self {
            Json(version, more, names) => {
                let items: Vec<_> = names.iter().map(|name| pod_in_json(name, "1")).collect();
                let page = json!({ "metadata": { "resourceVersion": version, "continue": more }, "items": items });
                (200, "application/json", body_of(page.to_string().into()))
            }
            Protobuf(version, more, names) => (200, PROTOBUF, body_of(in_protobuf(version, more, names))),
            Broken(version, more, names, length) => {
                let mut page = in_protobuf(version, more, names);
                page.truncate(length);
                let end = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                let frames = stream::iter([Ok(Frame::data(Bytes::from(page))), end]);
                (200, PROTOBUF, StreamBody::new(frames).boxed_unsync())
            }
            Refused(code) => (code, "application/json", body_of(status(code).to_string().into())),
            RefusedInProtobuf(code) => (code, PROTOBUF, body_of(refusal_of(code.into(), "", &format!("no {code}")))),
            Watch(events) => (200, "application/json", body_of(lines(events).into())),
            Silent(events) => {
                let told = stream::iter([Ok(Frame::data(Bytes::from(lines(events))))]);
                (200, "application/json", StreamBody::new(told.chain(stream::pending())).boxed_unsync())
            }
        };
        let head = Response::builder().status(status_code).header(header::CONTENT_TYPE, content_type);
        head.body(body).unwrap()
    }
}

/// What of a request matters here.
fn asked(request: &Request<Body>) -> String {
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let said = |name: &str| parameter(name).map(|(_, value)| format!(" {name}={value}")).unwrap_or_default();
    if parameter("watch").is_some() {
        return format!("watch{}", said("resourceVersion"));
    }
    let accepts = request.headers().get(header::ACCEPT).map(|accept| accept.to_str().unwrap().to_owned());
    let is_offered = accepts.as_deref() == Some("application/vnd.kubernetes.protobuf, application/json");
    assert!(is_offered || accepts.is_none(), "{accepts:?}");
    let form = if is_offered { "" } else { " in JSON" };
    assert!(parameter("resourceVersion").is_none(), "the latest is asked for: {query}");
    format!("list{}{}{form}", said("limit"), said("continue"))
}

/// A client of a server that gives these answers one after the other, and then none.
fn client(answers: Vec<Answer>, log: &Log) -> Client {
    let (answers, log) = (Arc::new(Mutex::new(VecDeque::from(answers))), Arc::clone(log));
    let service = tower::service_fn(move |request: Request<Body>| {
        log.lock().push(asked(&request));
        let answer = answers.lock().pop_front();
        async move {
            match answer {
                Some(answer) => Ok::<_, std::io::Error>(answer.response()),
                None => std::future::pending().await,
            }
        }
    });
    Client::new(service, "default")
}

fn note(log: &Log, news: News<PodObject>) {
    let name = |pod: PodObject| pod.metadata.name.unwrap_or_default();
    log.lock().push(match news {
        News::Event(Event::Init) => "begin".to_owned(),
        News::Event(Event::InitApply(pod)) => name(pod),
        News::Event(Event::InitDone) => "end".to_owned(),
        News::Event(Event::Apply(pod)) => format!("+{}", name(pod)),
        News::Event(Event::Delete(pod)) => format!("-{}", name(pod)),
        News::Interrupted(why, text) => format!("{why:?}: {text}"),
    });
}

fn selection() -> Selection {
    Selection::all(NonZeroU32::new(2).unwrap())
}

/// What happens while these answers come, within an hour.
async fn followed(answers: Vec<Answer>) -> Vec<String> {
    let log = Log::default();
    let api = Api::<PodObject>::all(client(answers, &log));
    let following = follow_in_protobuf(api, selection(), |news| note(&log, news));
    assert!(tokio::time::timeout(Duration::from_secs(3600), following).await.is_err());
    std::mem::take(&mut *log.lock())
}

/// Pages follow one another, a watch goes on from the version of the list, and the next one from the last bookmark or event;
/// all the same whether the server answers in protobuf or in JSON.
#[tokio::test(start_paused = true)]
async fn goes_on_from_where_it_was() {
    let events = || vec![event("ADDED", "c", "8"), event("DELETED", "a", "9"), bookmark("12")];
    let behind = || vec![Watch(events()), Watch(vec![event("MODIFIED", "b", "13")])];
    let told =
        ["end", "watch resourceVersion=7", "+c", "-a", "watch resourceVersion=12", "+b", "watch resourceVersion=13"];
    let pages = vec![Json("7", "next", &["a", "b"]), Json("7", "", &["c"])];
    let found = followed(pages.into_iter().chain(behind()).collect()).await;
    assert_eq!(found[..6], ["begin", "list limit=2", "a", "b", "list limit=2 continue=next", "c"]);
    assert_eq!(found[6..], told);
    let pages = vec![Protobuf("7", "next", &["a", "b"]), Protobuf("7", "", &["c"])];
    let found = followed(pages.into_iter().chain(behind()).collect()).await;
    let objects_of_4_mib =
        (2 * PAGE_BYTES) / page_of("PodList", "7", "next", vec![pod_of("a", "1", 5000); 2]).len() as u64;
    let more = format!("list limit={objects_of_4_mib} continue=next");
    assert_eq!(found[..6], ["begin", "list limit=2", "a", "b", &more, "c"], "the next page is as long as it may be");
    assert_eq!(found[6..], told);
}

/// A watch whose version is forgotten, by its answer or by an event, is followed by another list.
#[tokio::test(start_paused = true)]
async fn forgotten_watches_list_anew() {
    let gone = json!({ "type": "ERROR", "object": status(410) });
    for (refusal, text) in [
        (Refused(410), "Other: the API server answers 410: no 410"),
        (Watch(vec![gone]), "Other: the API server ends the watch with 410: no 410"),
    ] {
        let found = followed(vec![Protobuf("7", "", &["a"]), refusal, Protobuf("9", "", &["b"])]).await;
        assert_eq!(found[..5], ["begin", "list limit=2", "a", "end", "watch resourceVersion=7"]);
        assert_eq!(found[5..7], [text, "begin"]);
        assert_eq!(found[8..], ["b", "end", "watch resourceVersion=9"]);
    }
}

/// Behind other errors a watch goes on from where it was, and nothing is listed again; but a version from which the server
/// will never tell anything is followed by a list.
#[tokio::test(start_paused = true)]
async fn errors_of_watches_cost_no_list() {
    let error = json!({ "type": "ERROR", "object": status(500) });
    let answers = vec![Json("7", "", &[]), Refused(500), Watch(vec![event("ADDED", "a", "8"), error]), Refused(403)];
    let found = followed(answers).await;
    let expected = [
        "begin",
        "list limit=2",
        "end",
        "watch resourceVersion=7",
        "Other: the API server answers 500: no 500",
        "watch resourceVersion=7",
        "+a",
        "Other: the API server ends the watch with 500: no 500",
        "watch resourceVersion=8",
        "Forbidden: the API server answers 403: no 403",
        "watch resourceVersion=8",
    ];
    assert_eq!(found, expected);
    let mut behind = status(504);
    behind["message"] = json!("Timeout: Too large resource version: 7, current: 3");
    let answers =
        vec![Json("7", "", &[]), Watch(vec![json!({ "type": "ERROR", "object": behind })]), Json("3", "", &[])];
    assert_eq!(followed(answers).await.last().unwrap(), "watch resourceVersion=3");
}

/// A page that fails is asked for again, and not the pages before it: three times, then the list begins anew. What came of
/// it before may be told twice.
#[tokio::test(start_paused = true)]
async fn pages_are_asked_for_again() {
    let broken = || Broken("7", "", &["c", "d"], 5500);
    let answers = vec![Protobuf("7", "next", &["a", "b"]), broken(), Refused(500), Protobuf("7", "", &["c", "d"])];
    let found = followed(answers).await;
    let asks = |found: &[String]| found.iter().filter(|line| line.contains("continue=next")).count();
    assert_eq!((found.iter().filter(|line| *line == "begin").count(), asks(&found)), (1, 3));
    let told: Vec<_> = found.iter().filter(|line| line.len() == 1).map(String::as_str).collect();
    assert_eq!(told, ["a", "b", "c", "c", "d"]);
    assert!(found.iter().any(|line| line.starts_with("Other: the answer breaks off")), "{found:?}");

    let first = || Protobuf("7", "next", &["a", "b"]);
    let found = followed(vec![first(), broken(), broken(), broken(), first(), Protobuf("7", "", &["c"])]).await;
    assert_eq!((found.iter().filter(|line| *line == "begin").count(), asks(&found)), (2, 4));
    assert_eq!(found[found.len() - 3..], ["c", "end", "watch resourceVersion=7"]);
}

/// A page in protobuf that says less than it has promised, or is of something else, is an error, and the list never ends.
#[tokio::test(start_paused = true)]
async fn unfit_pages_end_no_list() {
    let found = followed(vec![Broken("7", "", &["a"], 0), RefusedInProtobuf(403), Json("", "", &["b"])]).await;
    assert!(!found.iter().any(|line| line == "end"), "{found:?}");
    let texts: Vec<_> = found.iter().filter(|line| line.contains(": ")).map(String::as_str).collect();
    assert!(texts[0].starts_with("Other: the answer breaks off"), "{texts:?}");
    assert_eq!(texts[1], "Forbidden: the API server answers 403: no 403");
    assert_eq!(texts[2], "Other: found no metadata.resourceVersion in what the API server says");
}

/// A list that is forgotten before it is complete begins anew; when that happens again everything is asked for at once.
#[tokio::test(start_paused = true)]
async fn forgotten_lists_begin_anew() {
    let first = || Json("7", "next", &["a"]);
    let answers = vec![first(), RefusedInProtobuf(410), first(), Refused(410), Protobuf("9", "", &["a", "b", "c"])];
    let lists = |found: Vec<String>| found.into_iter().filter(|line| line.starts_with("list")).collect::<Vec<_>>();
    let found = followed(answers).await;
    assert_eq!(found.last().unwrap(), "watch resourceVersion=9");
    let more = "list limit=2 continue=next";
    assert_eq!(lists(found), ["list limit=2", more, "list limit=2", more, "list"]);
}

/// Waits behind errors grow from one second to a minute at most, and an answer makes them short again. A server that forgets
/// at once what it has listed is not asked for one list after the other.
#[tokio::test(start_paused = true)]
async fn waits_grow() {
    let told = || Watch(vec![event("ADDED", "a", "8")]);
    let refusals = |count| (0..count).map(|_| Refused(500));
    let waits =
        waits(std::iter::once(Json("7", "", &[])).chain(refusals(8)).chain([told()]).chain(refusals(2)).collect());
    let waits = waits.await;
    let (least, most) = (Duration::from_millis(800), Duration::from_secs(61));
    assert!(waits[0] >= least && waits[0] < Duration::from_secs(2), "{waits:?}");
    assert!(waits[6] >= Duration::from_secs(30) && waits.iter().all(|wait| *wait <= most), "{waits:?}");
    assert!(waits[8] < Duration::from_secs(2), "{waits:?}");

    let forgotten = (0..8).flat_map(|_| [Json("7", "", &[]), Refused(410)]);
    let waits = self::waits(forgotten.collect()).await;
    assert!(waits[6] >= Duration::from_secs(30) && waits.iter().all(|wait| *wait <= most), "{waits:?}");
}

/// The times between interruptions while these answers come.
async fn waits(answers: Vec<Answer>) -> Vec<Duration> {
    let began = Instant::now();
    let moments = Mutex::new(Vec::new());
    let api = Api::<PodObject>::all(client(answers, &Log::default()));
    let following = follow(api, selection(), |news| {
        if matches!(news, News::Interrupted(..)) {
            moments.lock().push(began.elapsed());
        }
    });
    assert!(tokio::time::timeout(Duration::from_secs(600), following).await.is_err());
    moments.into_inner().windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// A watch that says nothing for longer than it may last is dead, and another one takes its place; one that ends at once and
/// says nothing, again and again, is not asked for without a pause.
#[tokio::test(start_paused = true)]
async fn dead_watches_are_replaced() {
    let log = Log::default();
    let answers = vec![Json("7", "", &[]), Silent(vec![event("ADDED", "a", "8")]), Silent(Vec::new())];
    let api = Api::<PodObject>::all(client(answers, &log));
    let following = follow(api, selection(), |news| note(&log, news));
    assert!(tokio::time::timeout(SILENT_AT_MOST + Duration::from_secs(1), following).await.is_err());
    let expected = ["begin", "list limit=2 in JSON", "end", "watch resourceVersion=7", "+a", "watch resourceVersion=8"];
    assert_eq!(*log.lock(), expected);

    let ends = (0..1000).map(|_| Watch(Vec::new()));
    let log = Log::default();
    let api = Api::<PodObject>::all(client([Json("7", "", &[])].into_iter().chain(ends).collect(), &log));
    let following = follow(api, selection(), |news| note(&log, news));
    assert!(tokio::time::timeout(Duration::from_secs(60), following).await.is_err());
    assert!(log.lock().len() < 12, "{:?}", log.lock());
}

/// An event that cannot be read is told, and those behind it are read.
#[tokio::test(start_paused = true)]
async fn unfit_events_are_passed_over() {
    let unfit = json!({ "type": "ADDED", "object": { "metadata": { "name": 7 } } });
    let found = followed(vec![Json("7", "", &[]), Watch(vec![unfit, event("ADDED", "b", "9")])]).await;
    assert_eq!(found[4..], ["Other: cannot read an event", "+b", "watch resourceVersion=9"]);
}
