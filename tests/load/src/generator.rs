//! The load: OTLP clients that send pre-encoded export requests, at a rate or as fast as answers come.
//! Counts what was acknowledged and how long answers took; what arrives behind the peer is the sink's to count.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    compression::Compression,
    payload::{Identities, Shape, grpc_frame, invalid_requests, request, request_of_pods},
    signal::Signal,
};

pub(crate) mod client;

use client::{Answer, Client};

/// Distinct requests that a measurement repeats.
const DISTINCT: u64 = 8;
/// Connections that are warmed up at once.
const WARM_UP_AT_ONCE: usize = 32;
/// How long a worker waits before it repeats a refused request.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);
/// Longest latency that the histogram holds, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;

/// What a generator is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The peer.
    pub target: SocketAddr,
    /// What is sent.
    pub signal: Signal,
    /// How much is in a request.
    pub shape: Shape,
    /// A file with unique ids of pods, one a line, that resources say in turn; without it they say random ones.
    pub pods: Option<PathBuf>,
    /// A file with one request that is sent in place of made ones; its records are those of the shape.
    pub message: Option<PathBuf>,
    /// How requests are compressed.
    pub compression: Compression,
    /// Connections to the peer.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub in_flight: usize,
    /// Records a second over all connections; as fast as answers come where missing.
    pub rate: Option<f64>,
    /// When no further request is started.
    pub stop: Stop,
    /// Largest DATA frame to send, below what the peer allows; as large as it allows where missing.
    pub max_frame: Option<usize>,
}

/// When a generator starts no further request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Stop {
    /// After this many seconds.
    Seconds(f64),
    /// After this many requests.
    Requests(u64),
}

/// What a generator has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sent {
    /// Requests answered with success.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Answers that asked to come back later; the request was repeated.
    pub refused: u64,
    /// Requests that failed for good, with the first reason.
    pub failed: u64,
    /// See `failed`.
    pub failure: Option<String>,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Median time from due to answer, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Bytes of the messages of `requests` before compression.
    pub request_bytes_total: u64,
}

/// A generator with encoded requests and open connections.
pub struct Generator {
    spec: Arc<Spec>,
    frames: Arc<[Bytes]>,
    clients: Vec<Client>,
    /// Plain bytes of each request.
    lengths: Arc<[u64]>,
    /// Whose ids resources say; random ones without it.
    identities: Option<Arc<Identities>>,
}

impl Generator {
    /// Encodes the requests and connects.
    ///
    /// # Errors
    /// When the peer does not accept a connection, or the ids of pods cannot be written into the requests.
    pub async fn prepare(spec: Spec) -> Result<Generator> {
        let encode = if spec.pods.is_some() { request_of_pods } else { request };
        let messages: Vec<_> = match &spec.message {
            Some(path) => vec![std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.into()],
            None => (0..DISTINCT).map(|seed| encode(spec.signal, spec.shape, seed)).collect(),
        };
        let lengths = messages.iter().map(|message| message.len() as u64).collect();
        let frames: Arc<[Bytes]> = messages.iter().map(|message| grpc_frame(message, spec.compression)).collect();
        let identities = spec.pods.as_deref().map(|path| Identities::read(path, &frames).map(Arc::new)).transpose()?;
        let mut clients = Vec::with_capacity(spec.connections);
        for _ in 0..spec.connections {
            clients.push(Client::connect(&spec).await?);
        }
        Ok(Generator { spec: Arc::new(spec), frames, clients, lengths, identities })
    }

    /// Sends requests with faults, each of which must be refused with INVALID_ARGUMENT.
    ///
    /// # Errors
    /// When one is answered in another way.
    pub async fn check_refusals(&self) -> Result<()> {
        let mut client = self.clients.first().context("a generator has connections")?.plain();
        for invalid in invalid_requests(self.spec.signal) {
            match client.send(grpc_frame(&invalid.message, Compression::None)).await? {
                Answer::Invalid => {}
                other => bail!("a request with {} was answered {other:?}", invalid.fault),
            }
        }
        Ok(())
    }

    /// Sends one request on every connection, so that connections and what hangs on them are settled before a load
    /// is measured. Returns the records that were sent.
    ///
    /// # Errors
    /// When a request is not answered with success.
    pub async fn warm_up(&self) -> Result<u64> {
        for some in self.clients.chunks(WARM_UP_AT_ONCE) {
            let answers = some.iter().map(|client| {
                let (mut warming, frame) = (client.clone(), frame(&self.frames, self.identities.as_deref(), 0));
                async move { warming.send(frame).await }
            });
            for answer in futures::future::try_join_all(answers).await? {
                ensure!(answer == Answer::Accepted, "a first request was answered {answer:?}");
            }
        }
        Ok(self.clients.len() as u64 * self.spec.shape.records as u64)
    }

    /// Runs the load and waits for every answer.
    ///
    /// # Errors
    /// When a connection breaks.
    pub async fn run(self) -> Result<Sent> {
        let start = Instant::now();
        let workers = self.clients.len() * self.spec.in_flight;
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..workers {
            let worker = Worker {
                spec: self.spec.clone(),
                frames: self.frames.clone(),
                lengths: self.lengths.clone(),
                identities: self.identities.clone(),
                client: self.clients[index % self.clients.len()].clone(),
                schedule: Schedule {
                    start,
                    index: index as u64,
                    workers: workers as u64,
                    interval: self.spec.rate.map(|rate| self.spec.shape.records as f64 / rate),
                    stop: self.spec.stop,
                },
            };
            tasks.spawn(worker.run());
        }
        let mut latencies = new_histogram();
        let mut sent = Sent::default();
        while let Some(done) = tasks.join_next().await {
            let share = done??;
            sent.requests += share.requests;
            sent.request_bytes_total += share.bytes;
            sent.refused += share.refused;
            sent.failed += share.failed;
            sent.failure = sent.failure.or(share.failure);
            latencies.add(share.latencies)?;
        }
        sent.records = sent.requests * self.spec.shape.records as u64;
        sent.seconds = start.elapsed().as_secs_f64();
        sent.p50_us = latencies.value_at_quantile(0.5);
        sent.p99_us = latencies.value_at_quantile(0.99);
        sent.max_us = latencies.max();
        Ok(sent)
    }
}

/// When the requests of one worker are due: the workers take the requests of the whole load in turn.
struct Schedule {
    start: Instant,
    index: u64,
    workers: u64,
    /// Seconds between two requests of the whole load; none where they follow their answers.
    interval: Option<f64>,
    stop: Stop,
}

impl Schedule {
    /// When request `round` of this worker is due, or nothing when the load is over.
    fn due(&self, round: u64) -> Option<Instant> {
        let number = self.index + round * self.workers;
        let due = match self.interval {
            Some(interval) => self.start + Duration::from_secs_f64(interval * number as f64),
            None => Instant::now(),
        };
        let goes_on = match self.stop {
            Stop::Seconds(seconds) => due < self.start + Duration::from_secs_f64(seconds),
            Stop::Requests(requests) => number < requests,
        };
        goes_on.then_some(due)
    }
}

/// What one worker has done.
struct Share {
    requests: u64,
    bytes: u64,
    refused: u64,
    failed: u64,
    failure: Option<String>,
    latencies: Histogram<u64>,
}

/// One request in flight after the other.
struct Worker {
    spec: Arc<Spec>,
    frames: Arc<[Bytes]>,
    lengths: Arc<[u64]>,
    identities: Option<Arc<Identities>>,
    client: Client,
    schedule: Schedule,
}

impl Worker {
    async fn run(mut self) -> Result<Share> {
        let mut share =
            Share { requests: 0, bytes: 0, refused: 0, failed: 0, failure: None, latencies: new_histogram() };
        let mut round = 0;
        while let Some(due) = self.schedule.due(round) {
            if self.spec.rate.is_some() {
                tokio::time::sleep_until(due.into()).await;
            }
            let number = self.schedule.index + round * self.schedule.workers;
            let frame = frame(&self.frames, self.identities.as_deref(), number);
            loop {
                match self.client.send(frame.clone()).await? {
                    Answer::Accepted => {
                        share.requests += 1;
                        share.bytes += self.lengths[(number % self.lengths.len() as u64) as usize];
                    }
                    Answer::Busy => {
                        share.refused += 1;
                        tokio::time::sleep(REFUSED_PAUSE).await;
                        continue;
                    }
                    other => {
                        share.failed += 1;
                        share.failure.get_or_insert_with(|| format!("{other:?}"));
                    }
                }
                break;
            }
            let latency = u64::try_from(due.elapsed().as_micros())?;
            share.latencies.record(latency.clamp(1, MAX_LATENCY))?;
            round += 1;
        }
        Ok(share)
    }
}

/// The request of this number.
fn frame(frames: &[Bytes], identities: Option<&Identities>, number: u64) -> Bytes {
    let content = (number % frames.len() as u64) as usize;
    match identities {
        Some(identities) => identities.stamp(&frames[content], content, number),
        None => frames[content].clone(),
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY, 3).expect("the bounds are valid")
}
