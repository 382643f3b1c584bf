"""Sends with the Python SDK what `expected.json` describes, once; settings come from the variables OTEL_EXPORTER_OTLP_*.

It takes the exporters of OTEL_EXPORTER_OTLP_PROTOCOL and puts PEERS_CELL into its resource. It fails where the SDK warns.
It does not know the engine: it sends wherever the variables say.
"""

import importlib
import logging
import os
import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation,
                                            View)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

PROTOCOLS = {"grpc": "proto.grpc", "http/protobuf": "proto.http", "http/json": "json.http"}
EXPORTERS = {"trace_exporter": "OTLPSpanExporter", "metric_exporter": "OTLPMetricExporter",
             "_log_exporter": "OTLPLogExporter"}
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
START = 1_700_000_000_000_000_001
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
ATTRIBUTES = {
    "text": "grüß dich, 世界 ☂", "empty": "", "yes": True, "no": False,
    "integer": 9_223_372_036_854_775_807, "negative": -7, "zero": 0, "ratio": -0.25,
    "texts": ["a", "ä", "日本"], "booleans": [True, False], "integers": [-1, 9_007_199_254_740_991],
    "doubles": [0.5, -1.5e-300], "bytes": b"\x00\x01\xfe\xff", "map": {"inner": {"deep": "x"}, "list": [1, "two"]},
}


class Ids(IdGenerator):
    """The trace, and spans numbered from 1."""

    span = 0

    def generate_span_id(self):
        self.span += 1
        return self.span

    def generate_trace_id(self):
        return TRACE


class Warnings(logging.Handler):
    """Counts what the SDK warns about."""

    count = 0

    def emit(self, record):
        self.count += 1
        print(f"{record.levelname} {record.getMessage()}", file=sys.stderr)


def context_of(span_id, state=()):
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(
        TRACE, span_id, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState(state))))


def send_spans(tracer):
    linked = SpanContext(0xFFEEDDCCBBAA99887766554433221100, 0x00F067AA0BA902B7, is_remote=True,
                         trace_flags=TraceFlags(1), trace_state=TraceState([("link", "state")]))
    parent = context_of(0xB7AD6B7169203331, [("vendor", "a:1"), ("other", "t61rcWkgMzE")])
    root = tracer.start_span("root", parent, SpanKind.SERVER, ATTRIBUTES, [Link(linked, ATTRIBUTES), Link(linked)], START)
    root.add_event("charged ☂", ATTRIBUTES, START + 1)
    root.add_event("bare", timestamp=START + 2)
    root.set_status(StatusCode.ERROR, "declined ☂")
    inside = trace.set_span_in_context(root)
    kinds = (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER)
    for kind in kinds:
        span = tracer.start_span(kind.name.lower(), inside, kind, start_time=START)
        if kind is SpanKind.CLIENT:
            span.set_status(StatusCode.OK)
        span.end(START + 3)
    root.end(START + 1_000_000_000)


def send_logs(logger):
    logger.emit(LogRecord(
        timestamp=START, observed_timestamp=START + 9, context=context_of(1), severity_text="Fehler ☂",
        severity_number=SeverityNumber.ERROR2, body="declined ☂", attributes=ATTRIBUTES, event_name="payment.declined"))
    bodies = ({"inner": {"deep": "x"}, "list": [1, "two"]}, b"\x00\x01\xfe\xff", ["a", 1, True, None], -7, 0.5, True, "",
              None)
    for number, body in enumerate(bodies, 1):
        logger.emit(LogRecord(timestamp=START + number, observed_timestamp=START + 9, body=body))


def send_metrics(meter):
    inside = context_of(1)
    counter = meter.create_counter("counter", "{order}", "Orders taken ☂")
    counter.add(9_007_199_254_740_991, {"kind": "new"}, inside)
    counter.add(4, {"kind": "old"})
    meter.create_counter("counter.double").add(0.25, ATTRIBUTES)
    meter.create_up_down_counter("up_down").add(-5)
    meter.create_gauge("gauge", "1").set(-0.25)
    histogram = meter.create_histogram("histogram", "s")
    for seconds in (0.05, 0.5, 5.5):
        histogram.record(seconds, {"route": "/pay", "user": "ü"}, inside)
    exponential = meter.create_histogram("exponential", "s")
    for seconds in (0.0, 1.5, 2.5, 40.5):
        exponential.record(seconds)
    meter.create_observable_counter("observable.counter", [lambda _: [Observation(7, {"kind": "new"})]])
    meter.create_observable_up_down_counter("observable.up_down", [lambda _: [Observation(-7)]])
    meter.create_observable_gauge("observable.gauge", [lambda _: [Observation(0.75)]])


def main():
    warnings = Warnings(logging.WARNING)
    logging.getLogger("opentelemetry").addHandler(warnings)
    package = f"opentelemetry.exporter.otlp.{PROTOCOLS[os.environ['OTEL_EXPORTER_OTLP_PROTOCOL']]}"
    spans, metrics, logs = [getattr(importlib.import_module(f"{package}.{module}"), name)()
                            for module, name in EXPORTERS.items()]
    resource = Resource({"service.name": "peers ☂", "peers.cell": os.environ["PEERS_CELL"], **ATTRIBUTES}, SCHEMA)
    tracing = TracerProvider(resource=resource, id_generator=Ids())
    tracing.add_span_processor(BatchSpanProcessor(spans))
    metering = MeterProvider([PeriodicExportingMetricReader(metrics)], resource, views=[
        View(instrument_name="histogram", attribute_keys={"route"},
             aggregation=ExplicitBucketHistogramAggregation([0.1, 1.0])),
        View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation(max_size=4)),
    ])
    logs_of = LoggerProvider(resource)
    logs_of.add_log_record_processor(BatchLogRecordProcessor(logs))

    scope = {"schema_url": SCHEMA, "attributes": ATTRIBUTES}
    send_spans(tracing.get_tracer("scope ☂", "1.2.3", **scope))
    send_metrics(metering.get_meter("scope ☂", "1.2.3", **scope))
    send_logs(logs_of.get_logger("scope ☂", "1.2.3", **scope))
    for provider in (tracing, metering, logs_of):
        provider.shutdown()
    return 1 if warnings.count else 0


if __name__ == "__main__":
    sys.exit(main())
