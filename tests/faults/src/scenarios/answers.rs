//! A backend that answers what it should not: the parts that it refuses for good are dropped and counted, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::time::sleep;
use tonic::Code;

use super::Scenario;
use crate::backend::{Protocol, Reply, serve};
use crate::oracle::Oracle;
use crate::producer::Load;
use crate::record;
use crate::scene::{HEAD, Scene, sink, source, until};
use crate::{Report, Run};

/// The first of the clients whose parts are refused, one for each answer, and how many records each sends, in one request.
const VICTIM: u32 = 500;
const VICTIMS: std::ops::Range<u32> = VICTIM..VICTIM + 100;
const PART: u64 = 7;
/// Of these, those that a partial success rejects.
const PARTIAL: i64 = 3;
/// Of so many requests one is answered with what says that it is a matter of time.
const SOMETIMES: u64 = 3;
/// How long the engine is asked to wait where an answer says so.
const WAIT: Duration = Duration::from_millis(200);

/// What is wrong at the moment, and how often it was answered.
#[derive(Default)]
struct Script {
    wrong: Option<(Protocol, Wrong)>,
    requests: u64,
    given: u64,
    /// Records of the last request that was answered so.
    refused: u64,
}

#[derive(Clone, Debug)]
enum Wrong {
    /// One of some requests is answered so and not taken.
    Sometimes(Reply),
    /// Requests with records of a victim are answered so and not taken.
    ForVictims(Reply),
    /// They are taken but for some records of the victim, and the answer says so.
    PartOfVictims,
}

pub(super) const WRONG: Scenario = Scenario {
    id: "F13",
    about: "a backend answers 500, 400, 429, statuses with and without a time, partial success, garbage, pages",
    run: |run| Box::pin(wrong(run)),
};

async fn wrong(run: &Run) -> Result<Report> {
    let (oracle, script) = (Oracle::default(), Arc::new(Mutex::new(Script::default())));
    let backend = {
        let (oracle, script) = (oracle.clone(), Arc::clone(&script));
        serve(Arc::new(move |protocol, message| decide(&script, &oracle, protocol, message))).await?
    };
    let mut scene = Scene::start_with(run, oracle, backend, vec![run.engine.clone().into()], |ways| {
        let keys = "batch.timeout = \"50ms\"\nbatch.max_records = 64\nretry.max_interval = \"500ms\"\n";
        let http = sink("http", "web", ways.faulty, &format!("protocol = \"http\"\n{keys}"));
        [HEAD, &source("apps"), &source("web"), &sink("grpc", "apps", ways.faulty, keys), &http].concat()
    })
    .await?;
    let load = Load::new(run.rate / 2.0);
    scene.load("apps", &load.of(0, 16, "grpc")).await?;
    scene.load("web", &load.of(100, 16, "http")).await?;
    for (protocol, reply) in for_now() {
        begin(&script, Some((protocol, Wrong::Sometimes(reply.clone()))));
        sleep(run.choose(Duration::from_millis(200), Duration::from_secs(10))).await;
        // What an earlier answer has asked to wait for may still be waited for.
        until(&format!("{reply:?} is answered"), async || script.lock().given > 0).await?;
        begin(&script, None);
    }
    let lost = losses(&scene).await?;
    scene.report.require(lost == 0, || format!("{lost} records were dropped though the answers asked for them again"));
    let (mut expected, mut victim) = (0, VICTIMS.start);
    for (protocol, wrong, cost) in for_good() {
        begin(&script, Some((protocol, wrong.clone())));
        let source = if protocol == Protocol::Grpc { "apps" } else { "web" };
        scene.send(source, &Load { batch: PART, requests: Some(1), ..load.of(victim, 1, "victim") });
        victim += 1;
        until(&format!("{wrong:?} is answered"), async || script.lock().given > 0).await?;
        let refused = script.lock().refused;
        expected += cost.unwrap_or(refused);
        let counted = async || losses(&scene).await.is_ok_and(|lost| lost >= expected);
        until(&format!("{wrong:?} is counted"), counted).await?;
        begin(&script, None);
    }
    scene.allow_lost(expected);
    scene.heal();
    scene.settle().await?;
    let lost = losses(&scene).await?;
    scene.report.require(lost == expected, || format!("{lost} records are counted as lost, {expected} were refused"));
    scene.report.measured.push(format!(
        "{} answers that ask for it again, {} that do not: {lost} records counted as lost, {expected} refused",
        for_now().len(),
        for_good().len()
    ));
    let mut report = scene.judge().await?;
    let missing = report.findings.missing;
    report.require(missing == expected, || format!("{missing} records are missing, {expected} were refused"));
    Ok(report)
}

/// Answers that say that it is a matter of time.
fn for_now() -> Vec<(Protocol, Reply)> {
    let grpc = |code: Code, wait| (Protocol::Grpc, Reply::Grpc(code as i32, wait));
    let http = |status, wait| (Protocol::Http, Reply::Http(status, wait));
    vec![
        grpc(Code::Unavailable, None),
        grpc(Code::Unavailable, Some(WAIT)),
        grpc(Code::ResourceExhausted, Some(WAIT)),
        grpc(Code::Aborted, None),
        grpc(Code::DataLoss, None),
        http(429, None),
        http(502, None),
        http(503, Some(1)),
        http(504, None),
    ]
}

/// Answers that say that it is no use, and how many records they cost: the part that is refused, or the whole request.
fn for_good() -> Vec<(Protocol, Wrong, Option<u64>)> {
    let grpc = |code: Code| (Protocol::Grpc, Wrong::ForVictims(Reply::Grpc(code as i32, None)), Some(PART));
    let http = |status| (Protocol::Http, Wrong::ForVictims(Reply::Http(status, None)), Some(PART));
    let both = |wrong: Wrong, cost| [Protocol::Grpc, Protocol::Http].map(|protocol| (protocol, wrong.clone(), cost));
    // Without a time it is no matter of time, and so small a request is not too large either: a backend that is busy does not
    // get it in pieces.
    let busy = Wrong::ForVictims(Reply::Grpc(Code::ResourceExhausted as i32, None));
    let mut answers = vec![(Protocol::Grpc, busy, None)];
    answers.extend([grpc(Code::InvalidArgument), grpc(Code::Internal), grpc(Code::Unknown)]);
    answers.extend([http(400), http(500)]);
    answers.extend(both(Wrong::ForVictims(Reply::Garbage), Some(PART)));
    // A page means that nobody is there who speaks OTLP, to whatever part.
    answers.extend(both(Wrong::ForVictims(Reply::Html), None));
    answers.extend(both(Wrong::PartOfVictims, Some(PARTIAL.unsigned_abs())));
    answers
}

fn decide(script: &Mutex<Script>, oracle: &Oracle, protocol: Protocol, message: &[u8]) -> Reply {
    let Ok(mut came) = record::read(message) else { return Reply::Grpc(Code::InvalidArgument as i32, None) };
    let is_of_victim = |came: &Option<record::Came>| came.is_some_and(|came| VICTIMS.contains(&came.id.client));
    let has_victim = came.iter().any(is_of_victim);
    let reply = {
        let mut script = script.lock();
        script.requests += 1;
        let turn = script.requests.is_multiple_of(SOMETIMES);
        let reply = match &script.wrong {
            Some((of, Wrong::Sometimes(reply))) if *of == protocol && turn => reply.clone(),
            Some((of, Wrong::ForVictims(reply))) if *of == protocol && has_victim => reply.clone(),
            Some((of, Wrong::PartOfVictims)) if *of == protocol && has_victim => Reply::Partial(PARTIAL),
            _ => Reply::Success,
        };
        if reply != Reply::Success {
            (script.given, script.refused) = (script.given + 1, came.len() as u64);
        }
        reply
    };
    match reply {
        Reply::Success => {}
        Reply::Partial(_) => {
            let mut rejected = 0;
            came.retain(|record| {
                rejected += i64::from(is_of_victim(record));
                !is_of_victim(record) || rejected > PARTIAL
            });
        }
        _ => return reply,
    }
    oracle.take_records(&came);
    reply
}

/// What is wrong from now on; says how often the last was answered.
fn begin(script: &Mutex<Script>, wrong: Option<(Protocol, Wrong)>) -> u64 {
    let mut script = script.lock();
    script.wrong = wrong;
    std::mem::take(&mut script.given)
}

/// What the engine has counted as lost, of all sinks.
async fn losses(scene: &Scene) -> Result<u64> {
    Ok(scene.engine.status().await?.ledgers().map(|(_, ledger)| ledger.lost()).sum())
}
