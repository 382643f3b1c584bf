//! The json bar: what it costs to take OTLP/JSON in, and to write it, over the same by way of the structs of
//! `opentelemetry-proto`. Both run in this process and on one thread, whose CPU time is counted.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use otlp::json::{Conversion, to_json};
use prost::Message;
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, de::DeserializeOwned};

use super::{Bar, Length, Options, Subject, Verdict};
use crate::{
    payload::{self, Shape},
    report::Spread,
    signal::Signal,
};

/// Largest shares of what the structs cost.
const BOUND_IN: f64 = 0.5;
const BOUND_OUT: f64 = 0.8;
const PAIRS: usize = 9;
const PAIRS_LONG: usize = 25;
/// Distinct requests of 1000 records.
const REQUESTS: u64 = 8;
/// How often a measurement goes through all of them.
const ROUNDS: usize = 25;
/// Bytes that the engine's server converts at once.
const STEP: usize = 256 * 1024;

pub(super) const BAR: Bar = Bar {
    name: "json",
    about: "OTLP/JSON in: text to admitted protobuf; out: protobuf to text; both over serde_json and prost",
    bound: "CPU in <= 0.50 x, out <= 0.80 x structs, each signal",
    measure: |_, options| measure(options),
};

/// What is done with one request.
type Work = fn(&Request);

fn measure(options: &Options) -> Result<Verdict> {
    ensure!(matches!(options.subject, Subject::Engine), "this bar measures the library and no other program");
    let pairs = options.pairs.unwrap_or(match options.length {
        Length::Short => PAIRS,
        Length::Long => PAIRS_LONG,
    });
    let (mut worst_in, mut worst_out) = (0.0_f64, 0.0_f64);
    let only = options.signal.as_slice();
    for &signal in if only.is_empty() { &Signal::ALL } else { only } {
        let requests: Vec<Request> =
            (0..REQUESTS).map(|seed| Request::new(signal, seed)).collect::<Result<_>>().context(signal.name())?;
        let each = |work: &dyn Fn(&Request)| cpu_per_million(&requests, work);
        let (ours, structs): (Work, Work) = match signal {
            Signal::Logs => (read, read_structs::<ExportLogsServiceRequest>),
            Signal::Spans => (read, read_structs::<ExportTraceServiceRequest>),
            Signal::Points => (read, read_structs::<ExportMetricsServiceRequest>),
        };
        let size = requests.iter().map(|request| request.text.len()).sum::<usize>() / requests.len();
        println!("{}: {:.0} bytes a record in JSON, {pairs} pairs", signal.name(), size as f64 / 1000.0);
        worst_in = worst_in.max(compare("in", pairs, || each(&ours), || each(&structs)));
        let (ours, structs): (Work, Work) = match signal {
            Signal::Logs => (write, write_structs::<ExportLogsServiceRequest>),
            Signal::Spans => (write, write_structs::<ExportTraceServiceRequest>),
            Signal::Points => (write, write_structs::<ExportMetricsServiceRequest>),
        };
        worst_out = worst_out.max(compare("out", pairs, || each(&ours), || each(&structs)));
    }
    Ok(Verdict {
        measured: format!("CPU in {worst_in:.2} x, out {worst_out:.2} x structs"),
        holds: worst_in <= BOUND_IN && worst_out <= BOUND_OUT,
    })
}

/// Measures pairs in alternating order, prints them, and returns the median of their ratios.
fn compare(way: &str, pairs: usize, ours: impl Fn() -> f64, structs: impl Fn() -> f64) -> f64 {
    let (mut of_ours, mut of_structs) = (Vec::new(), Vec::new());
    // Once for nothing, so that memory and caches are what they will be.
    ours();
    structs();
    for pair in 0..pairs {
        if pair % 2 == 0 {
            of_ours.push(ours());
            of_structs.push(structs());
        } else {
            of_structs.push(structs());
            of_ours.push(ours());
        }
    }
    let ratio = Spread::of(of_ours.iter().zip(&of_structs).map(|(ours, structs)| ours / structs));
    println!(
        "  {way:<4} engine CPU-s/M {:<22} structs CPU-s/M {:<22} ratio {ratio}",
        Spread::of(of_ours).to_string(),
        Spread::of(of_structs).to_string(),
    );
    ratio.median
}

/// A request in every form that is measured.
struct Request {
    signal: otlp::Signal,
    body: Bytes,
    /// As the structs write it, which is as exporters do.
    text: Bytes,
}

impl Request {
    fn new(signal: Signal, seed: u64) -> Result<Request> {
        let body = payload::request(signal, Shape::STANDARD, seed);
        let (signal, text) = match signal {
            Signal::Logs => (otlp::Signal::Logs, text_of::<ExportLogsServiceRequest>(&body)?),
            Signal::Spans => (otlp::Signal::Traces, text_of::<ExportTraceServiceRequest>(&body)?),
            Signal::Points => (otlp::Signal::Metrics, text_of::<ExportMetricsServiceRequest>(&body)?),
        };
        let request = Request { signal, body, text: text.into() };
        let read = otlp::json::from_json(request.signal, &request.text).context("the engine reads its request")?;
        let sent = otlp::admit(request.signal, request.body.clone())?;
        ensure!(read.decode() == sent.decode(), "what the engine reads is what was written");
        Ok(request)
    }
}

fn text_of<M: Message + Default + Serialize>(body: &Bytes) -> Result<String> {
    Ok(serde_json::to_string(&M::decode(body.clone())?)?)
}

/// As the engine's server and source do it: in steps, and then admission.
fn read(request: &Request) {
    let mut conversion = Conversion::new(request.signal, black_box(request.text.clone()), usize::MAX);
    let converted = loop {
        if let Some(converted) = conversion.step(STEP).expect("it was read before") {
            break converted;
        }
    };
    black_box(otlp::admit(request.signal, converted.body).expect("it was admitted before"));
}

fn read_structs<M: Message + DeserializeOwned>(request: &Request) {
    let message: M = serde_json::from_slice(black_box(&request.text)).expect("with-serde reads what it has written");
    black_box(message.encode_to_vec());
}

/// As the engine's sinks do it: from what was admitted.
fn write(request: &Request) {
    let wire = otlp::admit(request.signal, black_box(request.body.clone())).expect("it was admitted before");
    black_box(to_json(&wire));
}

fn write_structs<M: Message + Default + Serialize>(request: &Request) {
    let message = M::decode(black_box(request.body.clone())).expect("it is a request");
    black_box(serde_json::to_string(&message).expect("strings take all of it"));
}

/// CPU seconds of this thread for a million records.
fn cpu_per_million(requests: &[Request], work: &dyn Fn(&Request)) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    for _ in 0..ROUNDS {
        requests.iter().for_each(work);
    }
    (now() - start) * 1e6 / (ROUNDS * requests.len() * Shape::STANDARD.records) as f64
}
