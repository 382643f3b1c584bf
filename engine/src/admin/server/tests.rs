//! Answers without a socket.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_core::registry::BuildError;
use engine_core::service::{Service, ServiceContext, Services};
use http_body_util::BodyExt;

use super::super::series::Series;
use super::super::state::{Facts, Graph};
use super::*;
use crate::logging::Repeats;
use crate::reload::Reloads;

fn state() -> State {
    let facts = Facts { role: None, config_hash: "abc".to_owned(), memory_limit: 1 << 20, series: Series::default() };
    State::new(facts, Arc::new(Repeats::default()), Reloads::channel().0)
}

fn nothing() -> Graph {
    with(Services::default())
}

fn with(services: Services) -> Graph {
    Graph { nodes: Vec::new(), admission: engine_core::budget::Budget::new(10), listeners: Vec::new(), services }
}

fn ask(state: &State, method: Method, path: &str, host: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    let response = futures::executor::block_on(answer(&request.body(()).unwrap(), &Door::Local, state));
    let status = response.status();
    let body = futures::executor::block_on(response.into_body().collect()).unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn get(state: &State, path: &str) -> (StatusCode, String) {
    ask(state, Method::GET, path, Some("127.0.0.1:1"))
}

/// Readiness follows the phase and says why it is off.
#[test]
fn readiness_follows_the_phase() {
    let state = state();
    assert_eq!(get(&state, "/readyz"), (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()));
    state.running(nothing());
    assert_eq!(get(&state, "/readyz"), (StatusCode::OK, "ready\n".to_owned()));
    state.draining();
    assert_eq!(get(&state, "/readyz"), (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()));
}

/// Waits until it is told.
struct Waiting(Arc<AtomicBool>);

impl Service for Waiting {
    const TYPE: &'static str = "waiting";

    fn open(_: &ServiceContext<'_>) -> Result<Self, BuildError> {
        Err(BuildError::new("only for this test"))
    }

    fn waits_for(&self) -> Option<&'static str> {
        self.0.load(Ordering::Relaxed).then_some("waiting for a test")
    }

    fn problem(&self) -> Option<String> {
        self.0.load(Ordering::Relaxed).then(|| "the test is slow".to_owned())
    }
}

/// A process is not ready while one of its services waits for what it cannot do without.
#[test]
fn readiness_waits_for_services() {
    let (state, waits) = (state(), Arc::new(AtomicBool::new(true)));
    state.running(with(Services::default().with("", Waiting(Arc::clone(&waits)))));
    assert_eq!(get(&state, "/readyz"), (StatusCode::SERVICE_UNAVAILABLE, "waiting for a test\n".to_owned()));
    waits.store(false, Ordering::Relaxed);
    assert_eq!(get(&state, "/readyz"), (StatusCode::OK, "ready\n".to_owned()));
}

/// What keeps a service from its work stands in the status and in the metrics.
#[test]
fn problems_of_services_are_told() {
    let (state, waits) = (state(), Arc::new(AtomicBool::new(true)));
    state.running(with(Services::default().with("", Waiting(Arc::clone(&waits)))));
    let look = || {
        let status: serde_json::Value = serde_json::from_str(&get(&state, "/status").1).unwrap();
        let is_healthy = |flag| {
            get(&state, "/metrics")
                .1
                .contains(&format!("telemetry_engine_service_healthy{{service=\"waiting\"}} {flag}\n"))
        };
        (status["services"].clone(), is_healthy(0), is_healthy(1))
    };
    assert_eq!(look(), (serde_json::json!([{ "id": "waiting", "problem": "the test is slow" }]), true, false));
    waits.store(false, Ordering::Relaxed);
    assert_eq!(look(), (serde_json::json!([{ "id": "waiting" }]), false, true));
}

/// A signal that came before everything ran is not forgotten.
#[test]
fn an_early_end_stays() {
    let state = state();
    state.draining();
    state.running(nothing());
    assert_eq!(get(&state, "/readyz").1, "draining\n");
}

/// Who asks for something else learns what there is; what changes something is refused.
#[test]
fn other_paths_and_methods() {
    let state = state();
    let (status, text) = get(&state, "/statuz");
    assert_eq!(status, StatusCode::NOT_FOUND);
    PATHS.iter().for_each(|path| assert!(text.contains(path)));
    assert_eq!(ask(&state, Method::POST, "/status", Some("localhost")).0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(&state, Method::HEAD, "/status", Some("localhost")).0, StatusCode::OK);
}

/// A page that points its name at this server learns nothing, on any path.
#[test]
fn foreign_pages_learn_nothing() {
    let state = state();
    for path in PATHS {
        assert_eq!(ask(&state, Method::GET, path, Some("evil.example")).0, StatusCode::FORBIDDEN);
        assert_eq!(ask(&state, Method::GET, path, None).0, StatusCode::FORBIDDEN);
    }
}

/// The process is alive before anything runs, and not once a runtime is silent for too long.
#[tokio::test]
async fn liveness_follows_the_heartbeats() {
    let state = state();
    assert_eq!(get(&state, "/livez"), (StatusCode::OK, "alive\n".to_owned()));
    let lanes = engine_core::lane::LaneThreads::start(1).unwrap();
    state.heartbeats().start(&lanes.lanes(), &tokio::runtime::Handle::current());
    // Without a lane's thread and without yielding here nobody notes a beat any more.
    lanes.stop();
    let response = livez(&state, Instant::now() + heartbeat::LIMIT + Duration::from_secs(10));
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("lane 0 has not run") && text.contains("the shared runtime has not run"), "{text}");
}

/// The document is the type that the operator reads.
#[test]
fn status_is_readable() {
    let state = state();
    state.running(nothing());
    let (_, text) = get(&state, "/status");
    let status: engine_config::status::Status = serde_json::from_str(&text).unwrap();
    assert!(status.ready && status.config_hash == "abc" && status.memory.admission_limit_bytes == 10);
}
