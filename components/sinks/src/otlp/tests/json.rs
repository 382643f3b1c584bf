//! Requests and answers in JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use super::*;

fn json_options(peer: &Peer) -> OtlpSink {
    OtlpSink { encoding: Encoding::Json, ..peer.options() }
}

/// What arrives is the request as OTLP/JSON, without the resources that hold no record, also when it is so large that it
/// is written on another thread.
#[tokio::test]
async fn requests_are_json() {
    let peer = Peer::start(|_| ("200 OK", "application/json", "{}".to_owned())).await;
    let sink = built(&json_options(&peer));
    for records in [1, 5_000] {
        let full = test_kit::wire(&test_kit::logs(&[("service.name", "shop")], 0..records));
        let empty = test_kit::wire(&test_kit::logs(&[("service.name", "empty")], 0..0));
        let payload = Wire::concat([empty, full.clone()]);
        assert_eq!(within("an answer", sink.deliver(payload.into())).await, Outcome::Delivered);
        let request = peer.last();
        assert_eq!(
            (request.target.as_str(), request.headers["content-type"].as_str()),
            ("/v1/logs", "application/json")
        );
        assert!(!request.headers.contains_key("content-encoding"));
        let read: ExportLogsServiceRequest = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(otlp::Decoded::Logs(read), full.decode());
    }
}

/// What the backend says in JSON of some records or of all is heard.
#[tokio::test]
async fn answers_are_json() {
    let answers = [
        ("200 OK", r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#),
        ("400 Bad Request", r#"{"code":3,"message":"no such tenant"}"#),
    ];
    let answers = Mutex::new(answers.into_iter());
    let peer = Peer::start(move |_| {
        let (status, text) = answers.lock().unwrap().next().unwrap();
        (status, "application/json", text.to_owned())
    })
    .await;
    let sink = built(&json_options(&peer));
    assert_eq!(outcome(&sink).await, Outcome::Partial { rejected: 1, message: "too old".to_owned() });
    let Outcome::Rejected(rejection) = outcome(&sink).await else { panic!("400 is final") };
    assert_eq!(rejection.message, "http status 400 Bad Request: no such tenant");
}

/// The limit is one of the request as it is sent, which is larger in JSON.
#[tokio::test]
async fn the_limit_counts_json() {
    let peer = Peer::start(|_| ("200 OK", "application/json", "{}".to_owned())).await;
    let payload = test_kit::wire(&test_kit::logs(&[("service.name", "shop")], 0..100));
    let max_request_size = engine_config::ByteSize(payload.len() as u64 + 1);
    let sink = built(&OtlpSink { max_request_size, ..json_options(&peer) });
    let Outcome::Rejected(rejection) = within("an answer", sink.deliver(payload.into())).await else {
        panic!("JSON is larger")
    };
    assert_eq!((rejection.kind, peer.count()), (RejectionKind::TooLarge, 0));
}
