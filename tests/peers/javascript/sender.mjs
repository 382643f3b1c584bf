// Sends with the JavaScript SDK what `expected.json` describes, once; settings come from the variables OTEL_EXPORTER_OTLP_*.
// It takes the exporters of OTEL_EXPORTER_OTLP_PROTOCOL and puts PEERS_CELL into its resource. It fails where the SDK warns.
// It does not know the engine: it sends wherever the variables say.

import { diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace, ValueType } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { AggregationType, createAllowListAttributesProcessor, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { TraceState } from "@opentelemetry/core";

const PACKAGES = { "grpc": "grpc", "http/protobuf": "proto", "http/json": "http" };
const SCHEMA = "https://opentelemetry.io/schemas/1.37.0";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const ATTRIBUTES = {
  "text": "grüß dich, 世界 ☂", "empty": "", "yes": true, "no": false,
  "integer": Number.MAX_SAFE_INTEGER, "negative": -7, "zero": 0, "ratio": -0.25,
  "texts": ["a", "ä", "日本"], "booleans": [true, false], "integers": [-1, Number.MAX_SAFE_INTEGER],
  "doubles": [0.5, -1.5e-300],
};
const BYTES = Uint8Array.of(0, 1, 254, 255);
const MAP = { "inner": { "deep": "x" }, "list": [1, "two"] };
// Only log records and their scopes take these.
const LOG_ATTRIBUTES = { ...ATTRIBUTES, "bytes": BYTES, "map": MAP };

let warnings = 0;
const warn = (...words) => {
  // What the gRPC exporters say of every authority that comes without a client certificate.
  if (String(words[0]).startsWith("Client key and certificate must both be provided")) return;
  warnings += 1;
  console.error(...words);
};
diag.setLogger({ error: warn, warn, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);

/** Nanoseconds behind the start of the story. */
const at = (nanoseconds) => [1_700_000_000, nanoseconds + 1];

/** The trace, and spans numbered from 1. */
class Ids {
  span = 0;
  generateTraceId() {
    return TRACE;
  }
  generateSpanId() {
    this.span += 1;
    return this.span.toString(16).padStart(16, "0");
  }
}

const contextOf = (spanId, state) =>
  trace.setSpanContext(ROOT_CONTEXT, { traceId: TRACE, spanId, isRemote: true, traceFlags: TraceFlags.SAMPLED, traceState: state });

function sendSpans(tracer) {
  const linked = {
    traceId: "ffeeddccbbaa99887766554433221100", spanId: "00f067aa0ba902b7", isRemote: true,
    traceFlags: TraceFlags.SAMPLED, traceState: new TraceState("link=state"),
  };
  const parent = contextOf("b7ad6b7169203331", new TraceState("vendor=a:1,other=t61rcWkgMzE"));
  const root = tracer.startSpan("root", {
    kind: SpanKind.SERVER, attributes: ATTRIBUTES, startTime: at(0),
    links: [{ context: linked, attributes: ATTRIBUTES }, { context: linked }],
  }, parent);
  root.addEvent("charged ☂", ATTRIBUTES, at(1));
  root.addEvent("bare", at(2));
  root.setStatus({ code: SpanStatusCode.ERROR, message: "declined ☂" });
  const inside = trace.setSpan(ROOT_CONTEXT, root);
  for (const kind of ["INTERNAL", "CLIENT", "PRODUCER", "CONSUMER"]) {
    const span = tracer.startSpan(kind.toLowerCase(), { kind: SpanKind[kind], startTime: at(0) }, inside);
    if (kind === "CLIENT") span.setStatus({ code: SpanStatusCode.OK });
    span.end(at(3));
  }
  root.end([1_700_000_001, 1]);
}

function sendLogs(logger) {
  logger.emit({
    timestamp: at(0), observedTimestamp: at(9), context: contextOf("0000000000000001"), severityText: "Fehler ☂",
    severityNumber: SeverityNumber.ERROR2, body: "declined ☂", attributes: LOG_ATTRIBUTES,
    eventName: "payment.declined",
  });
  [MAP, BYTES, ["a", 1, true, null], -7, 0.5, true, "", undefined].forEach((body, index) =>
    logger.emit({ timestamp: at(index + 1), observedTimestamp: at(9), context: ROOT_CONTEXT, body }));
}

function sendMetrics(meter) {
  const inside = contextOf("0000000000000001");
  const int = { valueType: ValueType.INT };
  const counter = meter.createCounter("counter", { ...int, unit: "{order}", description: "Orders taken ☂" });
  counter.add(Number.MAX_SAFE_INTEGER, { kind: "new" }, inside);
  counter.add(4, { kind: "old" });
  meter.createCounter("counter.double").add(0.25, ATTRIBUTES);
  meter.createUpDownCounter("up_down", int).add(-5);
  meter.createGauge("gauge", { unit: "1" }).record(-0.25);
  const histogram = meter.createHistogram("histogram", { unit: "s" });
  for (const seconds of [0.05, 0.5, 5.5]) histogram.record(seconds, { route: "/pay", user: "ü" }, inside);
  const exponential = meter.createHistogram("exponential", { unit: "s" });
  for (const seconds of [0.0, 1.5, 2.5, 40.5]) exponential.record(seconds);
  meter.createObservableCounter("observable.counter", int).addCallback((result) => result.observe(7, { kind: "new" }));
  meter.createObservableUpDownCounter("observable.up_down", int).addCallback((result) => result.observe(-7));
  meter.createObservableGauge("observable.gauge").addCallback((result) => result.observe(0.75));
}

const exporterOf = async (signal, name) => {
  const exporters = await import(`@opentelemetry/exporter-${signal}-otlp-${PACKAGES[process.env.OTEL_EXPORTER_OTLP_PROTOCOL]}`);
  return new exporters[name]();
};

const resource = resourceFromAttributes(
  { "service.name": "peers ☂", "peers.cell": process.env.PEERS_CELL, ...ATTRIBUTES }, { schemaUrl: SCHEMA });
const tracing = new BasicTracerProvider({
  resource, idGenerator: new Ids(), spanProcessors: [new BatchSpanProcessor(await exporterOf("trace", "OTLPTraceExporter"))],
});
const metering = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: await exporterOf("metrics", "OTLPMetricExporter") })],
  views: [
    {
      instrumentName: "histogram", attributesProcessors: [createAllowListAttributesProcessor(["route"])],
      aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: [0.1, 1.0] } },
    },
    { instrumentName: "exponential", aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM, options: { maxSize: 4 } } },
  ],
});
const logs = new LoggerProvider({
  resource, processors: [new BatchLogRecordProcessor({ exporter: await exporterOf("logs", "OTLPLogExporter") })],
});
sendSpans(tracing.getTracer("scope ☂", "1.2.3", { schemaUrl: SCHEMA }));
sendMetrics(metering.getMeter("scope ☂", "1.2.3", { schemaUrl: SCHEMA }));
sendLogs(logs.getLogger("scope ☂", "1.2.3", { schemaUrl: SCHEMA, attributes: LOG_ATTRIBUTES }));
for (const provider of [tracing, metering, logs]) await provider.shutdown();
process.exitCode = warnings === 0 ? 0 : 1;
