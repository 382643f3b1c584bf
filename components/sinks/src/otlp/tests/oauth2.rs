//! Tokens of an authorization server.

use std::sync::atomic::{AtomicUsize, Ordering};

use engine_config::sinks::otlp::auth::{ClientAuthentication, OAuth2 as Options};
use engine_config::{SensitiveText, Span};

use super::*;

const SECRET: &str = "canary: 100% & more";

/// An authorization server that issues `token-1`, `token-2` and so on for 100 s each, unless a test has it say something
/// else.
struct Issuer {
    peer: Peer,
    refusal: watch::Sender<Option<Answer>>,
}

impl Issuer {
    async fn start() -> Self {
        let (refusal, refuses) = watch::channel(None::<Answer>);
        let count = AtomicUsize::new(0);
        let peer = Peer::start(move |_| {
            if let Some(refused) = refuses.borrow().clone() {
                return refused;
            }
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let token = format!(r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":100}}"#);
            ("200 OK", "application/json;charset=UTF-8", token)
        });
        Self { peer: peer.await, refusal }
    }

    /// A sink in front of `backend` that gets its tokens here.
    fn sink(&self, backend: &Peer, secret: &Path, change: impl FnOnce(&mut Options)) -> Otlp {
        let mut oauth2 = Options {
            token_url: format!("http://{}/oauth2/token", self.peer.address),
            client_id: TextOrSecret::Text("engine/1".to_owned()),
            client_secret: file_reference(secret),
            scopes: Vec::new(),
            parameters: Default::default(),
            client_authentication: ClientAuthentication::default(),
            tls: None,
            timeout: Span::secs(10),
        };
        change(&mut oauth2);
        let mut options = backend.options();
        options.auth = Some(Auth { oauth2: Some(oauth2), ..Auth::default() });
        built(&options)
    }
}

fn secret_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    file
}

/// Lets time go by at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Many requests at once, one token. Id and secret are escaped in the header, as RFC 6749 wants it.
#[tokio::test]
async fn one_token_for_all() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, _valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |oauth2| {
        oauth2.scopes = vec!["logs.write".to_owned(), "traces.write".to_owned()];
        oauth2.parameters.insert("audience".to_owned(), SensitiveText::new("https://backend"));
    });
    let outcomes = futures::future::join_all((0..16).map(|_| outcome(&sink))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    assert_eq!((issuer.peer.count(), backend.count()), (1, 16));
    let question = issuer.peer.last();
    assert_eq!(question.target, "/oauth2/token");
    assert_eq!(question.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(
        String::from_utf8(question.body).unwrap(),
        "grant_type=client_credentials&scope=logs.write%20traces.write&audience=https%3A%2F%2Fbackend"
    );
    // engine%2F1:canary%3A%20100%25%20%26%20more
    let expected = "Basic ZW5naW5lJTJGMTpjYW5hcnklM0ElMjAxMDAlMjUlMjAlMjYlMjBtb3Jl";
    assert_eq!(question.headers["authorization"], expected);
}

/// Id and secret go in the body where the authorization server wants them there.
#[tokio::test]
async fn credentials_in_the_body() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, _valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |oauth2| oauth2.client_authentication = ClientAuthentication::Body);
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    let question = issuer.peer.last();
    assert!(!question.headers.contains_key("authorization"));
    assert_eq!(
        String::from_utf8(question.body).unwrap(),
        "grant_type=client_credentials&client_id=engine%2F1&client_secret=canary%3A%20100%25%20%26%20more"
    );
}

/// A token that the backend refuses is replaced once, and the data is to be sent again; when the new one is refused as
/// well, the refusal stands until a token is taken.
#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |_| {});
    assert_eq!(outcome(&sink).await, Outcome::Delivered);

    valid.send("Bearer token-2".to_owned()).unwrap();
    let outcomes = futures::future::join_all((0..4).map(|_| outcome(&sink))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    assert_eq!(issuer.peer.count(), 2);

    valid.send("Bearer of something else".to_owned()).unwrap();
    assert!(matches!(outcome(&sink).await, Outcome::Retry { .. }), "token-2 was good until now");
    for _ in 0..3 {
        assert!(is_unauthorized(&outcome(&sink).await), "token-3 never was");
    }
    assert_eq!(issuer.peer.count(), 3);
    valid.send("Bearer token-3".to_owned()).unwrap();
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
}

/// Without a token nothing is sent and nothing is lost, whatever the authorization server says; it is left alone for a
/// while, and what it says is told without the secret, even when it repeats it.
#[tokio::test]
async fn no_token_is_a_reason_to_try_again() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, _valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |_| {});
    let json = "application/json";
    let echo = format!(r#"{{"error":"invalid_client","error_description":"{SECRET} is wrong"}}"#);
    let refusals: [(Answer, &str); 5] = [
        (("401 Unauthorized", json, echo), ": invalid_client: [redacted] is wrong"),
        (("503 Service Unavailable", "text/html", "<html>".to_owned()), "http status 503 Service Unavailable"),
        (("200 OK", json, r#"{"token_type":"bearer"}"#.to_owned()), "the answer holds no access_token"),
        (("200 OK", json, r#"{"access_token":"x","token_type":"mac"}"#.to_owned()), "of type \"mac\", not bearer"),
        (("200 OK", json, r#"{"access_token":"canary\n"}"#.to_owned()), "characters that a header cannot have"),
    ];
    for (count, (answer, expected)) in refusals.into_iter().enumerate() {
        issuer.refusal.send(Some(answer)).unwrap();
        for _ in 0..3 {
            let Outcome::Retry { after, reason } = outcome(&sink).await else { panic!("it may come later") };
            assert!(after.unwrap() > Duration::ZERO);
            let url = format!("cannot get a token from http://{}/oauth2/token: ", issuer.peer.address);
            assert!(reason.starts_with(&url) && reason.ends_with(expected), "{reason}");
            assert!(!reason.contains("canary"), "{reason}");
        }
        assert_eq!(issuer.peer.count(), count + 1);
        pass(Duration::from_secs(61)).await;
    }
    assert_eq!(backend.count(), 0);
    issuer.refusal.send(None).unwrap();
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
}

/// Neither a token for no time at all nor one for ever keeps data from being sent.
#[tokio::test]
async fn odd_lifetimes() {
    for expires_in in ["0", "0.001", "9223372036854775807", "18446744073709551615", "1e300", "-1", "\"0\"", "null"] {
        let (issuer, secret) = (Issuer::start().await, secret_file());
        let (backend, _valid) = guarded("Bearer token-1").await;
        let token = format!(r#"{{"access_token":"token-1","expires_in":{expires_in}}}"#);
        issuer.refusal.send(Some(("200 OK", "application/json", token))).unwrap();
        let sink = issuer.sink(&backend, secret.path(), |_| {});
        for _ in 0..2 {
            assert_eq!(within(expires_in, outcome(&sink)).await, Outcome::Delivered, "{expires_in}");
        }
    }
}

/// What a server repeats of the question is not told: neither the secret nor a parameter, in clear or as the form has it,
/// whole or cut off.
#[tokio::test]
async fn what_is_repeated_is_hidden() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, _valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |oauth2| {
        oauth2.parameters.insert("assertion".to_owned(), SensitiveText::new("canary/assertion"));
    });
    for padding in (860..1040).step_by(9) {
        let padding = "x".repeat(padding);
        let repeated =
            format!("{padding} canary/assertion canary%2Fassertion canary%3A%20100%25%20%26%20more {SECRET}");
        let answer = format!(r#"{{"error":"invalid_request","error_description":"{repeated}"}}"#);
        issuer.refusal.send(Some(("400 Bad Request", "application/json", answer))).unwrap();
        let Outcome::Retry { reason, .. } = outcome(&sink).await else { panic!("it may come later") };
        assert!(!reason.contains("canary"), "{reason}");
        pass(Duration::from_secs(61)).await;
    }
}

/// The next token is fetched after four fifths of the time of the last one, while that one still serves; if there is none,
/// the old one serves to its end, and then data waits.
#[tokio::test]
async fn tokens_are_renewed_in_time() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |_| {});
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    pass(Duration::from_secs(79)).await;
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    assert_eq!(issuer.peer.count(), 1);
    pass(Duration::from_secs(2)).await;
    assert_eq!(outcome(&sink).await, Outcome::Delivered, "the old token serves meanwhile");
    within("the next token", async {
        while issuer.peer.count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    valid.send("Bearer token-2".to_owned()).unwrap();
    within("it is in use", async { while outcome(&sink).await != Outcome::Delivered {} }).await;
    assert_eq!(issuer.peer.count(), 2);

    issuer.refusal.send(Some(("500 Internal Server Error", "text/plain", String::new()))).unwrap();
    pass(Duration::from_secs(85)).await;
    assert_eq!(outcome(&sink).await, Outcome::Delivered, "it is still good");
    pass(Duration::from_secs(11)).await;
    assert!(matches!(outcome(&sink).await, Outcome::Retry { .. }));
}

/// A client secret that was rotated is used as soon as the authorization server refuses the old one.
#[tokio::test]
async fn a_rotated_client_secret_is_used() {
    let (issuer, secret) = (Issuer::start().await, secret_file());
    let (backend, _valid) = guarded("Bearer token-1").await;
    let sink = issuer.sink(&backend, secret.path(), |oauth2| oauth2.client_authentication = ClientAuthentication::Body);
    std::fs::write(secret.path(), "rotated").unwrap();
    issuer.refusal.send(Some(("401 Unauthorized", "application/json", String::new()))).unwrap();
    assert!(matches!(outcome(&sink).await, Outcome::Retry { .. }));
    let received = issuer.peer.received.lock().unwrap().clone();
    let secrets: Vec<_> = received
        .iter()
        .map(|question| String::from_utf8_lossy(&question.body).ends_with("client_secret=rotated"))
        .collect();
    assert_eq!(secrets, [false, true]);
}
