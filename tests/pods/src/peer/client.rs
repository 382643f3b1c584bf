//! A program that is instrumented with the OpenTelemetry SDK: it makes records at an even rate, and counts exports that fail.
//!
//! What it makes is flushed every few milliseconds, so that no queue of the SDK overflows; what an export that fails has
//! carried is lost, because nobody tries again.

use std::fmt::Debug;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::{Counter, MeterProvider as _};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use pods::oracle::{LINE, PREFIX, RUN};

/// Where somebody connects to end it.
const END: u16 = 7000;
/// Between two flushes.
const TICK: Duration = Duration::from_millis(50);
/// No reader looks by itself.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Exports that have failed.
type Failed = Arc<AtomicU64>;

/// An exporter whose failures are counted.
#[derive(Debug)]
struct Counting<E> {
    exporter: E,
    failed: Failed,
}

/// The SDK, set up for one signal.
enum Sdk {
    Logs(SdkLoggerProvider),
    Metrics(SdkMeterProvider, Counter<u64>),
    Traces(SdkTracerProvider),
}

/// Sends as `SIGNAL:WAY:RATE:URL` says, until somebody connects.
pub(crate) fn send(value: &str) -> Result<()> {
    let parts: Vec<&str> = value.splitn(4, ':').collect();
    let [signal, way, rate, url] = parts[..] else { bail!("expected SIGNAL:WAY:RATE:URL, not `{value}`") };
    let rate: u64 = rate.parse().context("RATE")?;
    let is_over = end()?;
    reached(url, &is_over);
    let failed = Failed::default();
    let sdk = Sdk::new(signal, way, url, &failed)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let run = format!("{}-{since}", std::env::var("HOSTNAME").unwrap_or_default());
    let (began, mut made) = (Instant::now(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let due = u64::try_from(began.elapsed().as_millis())? * rate / 1000;
        for number in made + 1..=due {
            sdk.make(&run, number);
        }
        made = made.max(due);
        // A failure is counted, and the program goes on.
        sdk.flush().ok();
        std::thread::park_timeout(TICK);
    }
    sdk.shutdown().ok();
    println!("made {made} failed {}", failed.load(Ordering::Relaxed));
    Ok(())
}

/// Waits until somebody listens at the URL: what comes before is not what is tested.
fn reached(url: &str, is_over: &AtomicBool) {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority);
    while TcpStream::connect(authority).is_err() && !is_over.load(Ordering::Relaxed) {
        std::thread::park_timeout(TICK);
    }
}

/// Whether somebody has connected.
fn end() -> Result<Arc<AtomicBool>> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, END))?;
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    std::thread::spawn(move || {
        listener.accept().ok();
        told.store(true, Ordering::Relaxed);
    });
    Ok(is_over)
}

impl Sdk {
    fn new(signal: &str, way: &str, url: &str, failed: &Failed) -> Result<Self> {
        ensure!(["grpc", "http"].contains(&way), "expected grpc or http, not `{way}`");
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "client")).build();
        macro_rules! exporter {
            ($exporter:ident $($setting:tt)*) => {{
                let builder = $exporter::builder()$($setting)*;
                let exporter = match way {
                    "grpc" => builder.with_tonic().with_endpoint(url).with_retry_policy(RetryPolicy::disabled()).build()?,
                    _ => builder
                        .with_http()
                        .with_protocol(Protocol::HttpBinary)
                        .with_endpoint(format!("{url}/v1/{signal}"))
                        .with_retry_policy(RetryPolicy::disabled())
                        .build()?,
                };
                Counting { exporter, failed: Arc::clone(failed) }
            }};
        }
        Ok(match signal {
            "logs" => {
                let exporter = exporter!(LogExporter);
                Self::Logs(SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
            }
            "metrics" => {
                // Each point is sent once: as the difference to what was sent before.
                let exporter = exporter!(MetricExporter.with_temporality(Temporality::Delta));
                let reader = PeriodicReader::builder(exporter).with_interval(NEVER).build();
                let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
                let counter = provider.meter("client").u64_counter("lines").build();
                Self::Metrics(provider, counter)
            }
            "traces" => {
                let exporter = exporter!(SpanExporter);
                Self::Traces(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
            }
            _ => bail!("expected logs, metrics or traces, not `{signal}`"),
        })
    }

    fn make(&self, run: &str, number: u64) {
        let run = run.to_owned();
        match self {
            Self::Logs(provider) => {
                let logger = provider.logger("client");
                let mut record = logger.create_log_record();
                record.set_timestamp(SystemTime::now());
                record.set_severity_number(Severity::Info);
                record.set_body(AnyValue::String(format!("{PREFIX}{number}").into()));
                record.add_attribute(RUN, run);
                logger.emit(record);
            }
            Self::Metrics(_, counter) => {
                counter.add(1, &[KeyValue::new(RUN, run), KeyValue::new(LINE, number.to_string())]);
            }
            Self::Traces(provider) => {
                let tracer = provider.tracer("client");
                let mut span = tracer.start(format!("{PREFIX}{number}"));
                span.set_attribute(KeyValue::new(RUN, run));
                span.end();
            }
        }
    }

    fn flush(&self) -> OTelSdkResult {
        match self {
            Self::Logs(provider) => provider.force_flush(),
            Self::Metrics(provider, _) => provider.force_flush(),
            Self::Traces(provider) => provider.force_flush(),
        }
    }

    fn shutdown(&self) -> OTelSdkResult {
        match self {
            Self::Logs(provider) => provider.shutdown(),
            Self::Metrics(provider, _) => provider.shutdown(),
            Self::Traces(provider) => provider.shutdown(),
        }
    }
}

impl<E> Counting<E> {
    fn count(&self, result: OTelSdkResult) -> OTelSdkResult {
        if let Err(error) = &result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            eprintln!("{:.3}: an export has failed: {error:?}", at.as_secs_f64());
        }
        result
    }
}

impl<E: opentelemetry_sdk::logs::LogExporter> opentelemetry_sdk::logs::LogExporter for Counting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.count(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.count(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.count(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
