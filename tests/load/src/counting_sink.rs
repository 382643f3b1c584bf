//! The backend of a measurement: counts the records of OTLP export requests and answers each with success.
//! It walks lengths and decodes nothing, so that it costs little; it does not check content except for a sample.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{
    compression::Compression,
    frames::Frames,
    numbers::{Numbers, Tally},
    signal::Signal,
};

mod walk;

pub use walk::{count_records, record_attributes, resource_attributes};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Bytes of the gRPC length prefix.
const PREFIX: usize = 5;

/// What a sink is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// What the sink advertises to its clients.
    pub frames: Frames,
    /// How requests are compressed.
    pub compression: Compression,
    /// Attributes that every resource of a sampled request must have exactly once.
    pub expected_attributes: Vec<String>,
    /// Attributes that every record of a sampled request must have exactly once.
    pub expected_in_records: Vec<String>,
    /// A file for the largest message so far.
    pub kept: Option<PathBuf>,
    /// From when to when it answers UNAVAILABLE, in seconds after its first request.
    pub away: Option<(f64, f64)>,
}

impl Spec {
    /// Large frames, nothing compressed, and no expectations.
    pub fn plain() -> Spec {
        Spec {
            frames: Frames::LARGE,
            compression: Compression::None,
            expected_attributes: Vec::new(),
            expected_in_records: Vec::new(),
            kept: None,
            away: None,
        }
    }
}

/// What a sink has received so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Export requests answered with success.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their messages as they came, compressed or not.
    pub bytes: u64,
    /// Connections accepted.
    pub connections: u64,
    /// What was wrong with the first request that was not an OTLP export request.
    pub fault: Option<String>,
    /// Resources of the latest request, and how many of them lack an expected attribute or have it twice.
    pub sampled_resources: u64,
    /// See `sampled_resources`.
    pub wrong_resources: u64,
    /// Records of the latest request that lack an expected attribute or have it twice; not looked at where none is
    /// expected.
    pub wrong_records: u64,
}

/// Looks at every request; what it finds wrong is the sink's fault, and its client is refused.
pub type Judge = Box<dyn Fn(Signal, &Bytes) -> Result<()> + Send + Sync>;

/// A running sink; serves as long as the runtime lives.
pub struct CountingSink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    spec: Spec,
    judge: Option<Judge>,
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    /// Bytes of the largest message.
    largest: Mutex<usize>,
    connections: AtomicU64,
    fault: Mutex<Option<String>>,
    latest: Mutex<Option<(Signal, Bytes)>>,
    /// When the first request came.
    first: OnceLock<Instant>,
    /// Numbers of the lines in them, where they are wanted.
    numbers: Option<Arc<Mutex<Numbers>>>,
}

impl CountingSink {
    /// Listens on a free loopback port and serves on the current runtime.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn start(spec: Spec) -> Result<CountingSink> {
        Self::start_with(LOOPBACK, spec, None, None).await
    }

    /// The same on another address of this machine, such as one that pods reach.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn start_on(address: IpAddr, spec: Spec) -> Result<CountingSink> {
        Self::start_with(address, spec, None, None).await
    }

    /// The same for a sink that notes which numbered lines it has received.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn start_noting(spec: Spec) -> Result<CountingSink> {
        let numbers = Arc::new(Mutex::new(Numbers::default()));
        let noted = Arc::clone(&numbers);
        let note: Judge = Box::new(move |_, message| noted.lock().expect("no holder panics").note(message));
        Self::start_with(LOOPBACK, spec, Some(note), Some(numbers)).await
    }

    /// One that has every request looked at before it is answered.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn judging(spec: Spec, judge: Judge) -> Result<CountingSink> {
        Self::start_with(LOOPBACK, spec, Some(judge), None).await
    }

    async fn start_with(
        address: IpAddr,
        spec: Spec,
        judge: Option<Judge>,
        numbers: Option<Arc<Mutex<Numbers>>>,
    ) -> Result<CountingSink> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            spec,
            judge,
            requests: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            largest: Mutex::new(0),
            connections: AtomicU64::new(0),
            fault: Mutex::new(None),
            latest: Mutex::new(None),
            first: OnceLock::new(),
            numbers,
        });
        tokio::spawn(accept(listener, state.clone()));
        Ok(CountingSink { address, state })
    }

    /// Which of the lines that were written have come in so far; all are missing where nobody notes them.
    pub fn tally(&self, written: &[u64]) -> Tally {
        let noted = self.state.numbers.as_ref().map(|numbers| numbers.lock().expect("no holder panics"));
        noted.map_or_else(|| Numbers::default().tally(written), |numbers| numbers.tally(written))
    }

    /// What has come in so far, with a check of the latest request.
    pub fn received(&self) -> Received {
        let state = &self.state;
        let latest = state.latest.lock().expect("no holder panics").clone();
        let mut fault = state.fault.lock().expect("no holder panics").clone();
        let sample = match latest.map(|(signal, message)| state.spec.sample(signal, &message)) {
            Some(Ok(sample)) => sample,
            Some(Err(error)) => {
                fault = fault.or(Some(error.to_string()));
                Sample::default()
            }
            None => Sample::default(),
        };
        Received {
            requests: state.requests.load(Ordering::Relaxed),
            records: state.records.load(Ordering::Relaxed),
            bytes: state.bytes.load(Ordering::Relaxed),
            connections: state.connections.load(Ordering::Relaxed),
            fault,
            sampled_resources: sample.resources,
            wrong_resources: sample.wrong_resources,
            wrong_records: sample.wrong_records,
        }
    }
}

/// What a look at one request gives.
#[derive(Debug, Default)]
struct Sample {
    resources: u64,
    wrong_resources: u64,
    wrong_records: u64,
}

impl State {
    fn is_away(&self) -> bool {
        let Some((from, until)) = self.spec.away else { return false };
        let since = self.first.get_or_init(Instant::now).elapsed().as_secs_f64();
        (from..until).contains(&since)
    }

    /// Writes a message to the file for the largest one, where it is that.
    fn keep(&self, message: &[u8]) -> Result<()> {
        let Some(path) = &self.spec.kept else { return Ok(()) };
        let mut largest = self.largest.lock().expect("no holder panics");
        if message.len() > *largest {
            std::fs::write(path, message).with_context(|| format!("cannot write {}", path.display()))?;
            *largest = message.len();
        }
        Ok(())
    }
}

impl Spec {
    fn sample(&self, signal: Signal, message: &[u8]) -> Result<Sample> {
        let resources = resource_attributes(message)?;
        let records = match self.expected_in_records.is_empty() {
            true => Vec::new(),
            false => record_attributes(signal, message)?,
        };
        Ok(Sample {
            resources: resources.len() as u64,
            wrong_resources: wrong(&resources, &self.expected_attributes),
            wrong_records: wrong(&records, &self.expected_in_records),
        })
    }
}

/// How many of these do not have every expected key exactly once.
fn wrong(found: &[Vec<String>], expected: &[String]) -> u64 {
    let is_right =
        |keys: &&Vec<String>| expected.iter().all(|key| keys.iter().filter(|found| *found == key).count() == 1);
    found.iter().filter(|keys| !is_right(keys)).count() as u64
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let connection_state = state.clone();
        tokio::spawn(async move {
            let frames = connection_state.spec.frames;
            let service = service_fn(move |request| answer(request, connection_state.clone()));
            // A client that goes away ends its connection with an error; what it did not deliver shows in the counts.
            drop(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_frame_size(frames.max_frame)
                    .initial_stream_window_size(frames.stream_window)
                    .initial_connection_window_size(frames.connection_window)
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

/// Answers success for a counted request and INVALID_ARGUMENT for anything else.
async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Answer>, http::Error> {
    if state.is_away() {
        // The body is not read: it is sent again anyway.
        let answer = Answer { message: false, status: Some(HeaderValue::from_static("14")) };
        return Response::builder().header("content-type", "application/grpc").body(answer);
    }
    let counted = count(request, &state).await;
    let status = if counted.is_ok() { "0" } else { "3" };
    if let Err(error) = counted {
        let mut fault = state.fault.lock().expect("no holder panics");
        fault.get_or_insert_with(|| format!("{error:#}"));
    }
    Response::builder()
        .header("content-type", "application/grpc")
        .body(Answer { message: true, status: Some(HeaderValue::from_static(status)) })
}

async fn count(request: Request<Incoming>, state: &State) -> Result<()> {
    let signal = Signal::from_path(request.uri().path()).context("no export call has this path")?;
    let framed = collect(request.into_body()).await?;
    ensure!(framed.len() >= PREFIX, "a body shorter than a gRPC prefix");
    let length = u32::from_be_bytes(framed[1..PREFIX].try_into().expect("four bytes")) as usize;
    ensure!(framed.len() == PREFIX + length, "a body that is not one gRPC message");
    let message = match framed[0] {
        0 => framed.slice(PREFIX..),
        1 => state.spec.compression.decompress(framed.slice(PREFIX..))?,
        flag => bail!("unknown gRPC flag {flag}"),
    };
    let compressed = u8::from(state.spec.compression != Compression::None);
    ensure!(framed[0] == compressed, "a message that is not compressed as it should be");
    let records = count_records(signal, &message)?;
    if let Some(judge) = &state.judge {
        judge(signal, &message)?;
    }
    state.keep(&message)?;
    *state.latest.lock().expect("no holder panics") = Some((signal, message));
    state.bytes.fetch_add(length as u64, Ordering::Relaxed);
    state.records.fetch_add(records, Ordering::Relaxed);
    state.requests.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The whole body; copied only when it came in several pieces.
async fn collect(mut body: Incoming) -> Result<Bytes> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            let expected = first.get(1..PREFIX).map_or(0, |mut length| length.get_u32() as usize);
            joined.reserve(PREFIX + expected);
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// The body of an answer: an empty message, then trailers.
#[derive(Debug)]
struct Answer {
    message: bool,
    status: Option<HeaderValue>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.message {
            self.message = false;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PREFIX])))));
        }
        let Some(status) = self.status.take() else {
            return Poll::Ready(None);
        };
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", status);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        !self.message && self.status.is_none()
    }
}
