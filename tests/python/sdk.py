"""Drives the engine with the Python OpenTelemetry SDK: every field arrives, and the README keeps its word.

Usage: sdk.py ENGINE_BINARY

`Sdk` starts the engine with one OTLP source on free ports and a file sink, sends a trace, metrics and logs through the
SDK's own exporters over gRPC and HTTP, ends the engine with SIGTERM, and compares the file field by field.

`Readme` does what the README says, in the README's own words: the engine without a file on its standard ports, and the
script. Where a standard port is taken, the same configuration runs on other ports, and the output says so.
"""

import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

ENGINE = os.path.abspath(sys.argv.pop(1))
LINKED = SpanContext(trace_id=0x0AF7651916CD43DD8448EB211C80319C, span_id=0x00F067AA0BA902B7, is_remote=True,
                     trace_flags=TraceFlags(1))
# Where the engine listens when it runs without a file: OTLP over gRPC, OTLP over HTTP, administration.
STANDARD = ["127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:13133"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def value(any_value):
    """The Python value of an OTLP JSON AnyValue."""
    (kind, content), = any_value.items() if any_value else (("none", None),)
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [value(element) for element in content.get("values", [])]
    return content


def attributes(owner):
    pairs = [(entry["key"], value(entry.get("value"))) for entry in owner.get("attributes", [])]
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"an attribute stands twice: {keys}"
    return dict(pairs)


class Engine:
    """A running engine: OTLP in, one attribute put into every resource, a file out."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out.jsonl")
        self.grpc, self.http, self.admin = free_port(), free_port(), free_port()
        config = os.path.join(self.folder.name, "engine.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""
version = 1
[admin]
listen = "127.0.0.1:{self.admin}"
[sources.apps]
type = "otlp"
grpc.listen = "127.0.0.1:{self.grpc}"
http.listen = "127.0.0.1:{self.http}"
[transforms.cluster]
type = "resource"
inputs = ["apps"]
upsert = {{ "k8s.cluster.name" = "laptop" }}
[sinks.out]
type = "file"
inputs = ["cluster"]
path = "{self.out}"
acknowledge = "delivered"
""")
        self.process = subprocess.Popen([ENGINE, "run", "--config", config])
        while True:
            assert self.process.poll() is None, "the engine ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                continue

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def drained(self):
        """Ends the engine in good order and returns the requests that arrived."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0
        with open(self.out, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def is_free(address):
    host, port = address.rsplit(":", 1)
    with socket.socket() as listener:
        # A port that only waits for stragglers of its last connections is free: the engine takes it too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, int(port)))
        except OSError:
            return False
        return True


class Readme(unittest.TestCase):
    """The commands and the script of the README, taken out of it."""

    @classmethod
    def setUpClass(cls):
        folder = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(folder, "..", "..", "README.md"), encoding="utf-8") as file:
            cls.readme = file.read()
        with open(os.path.join(folder, "requirements.txt"), encoding="utf-8") as file:
            cls.requirements = [line.split("==")[0] for line in file if not line.startswith("#")]

    def command(self, start):
        """The words behind `start` on the only line of the README that begins so."""
        line, = re.findall(rf"^{re.escape(start)}(.*)$", self.readme, re.MULTILINE)
        return shlex.split(line)

    def engine(self, folder):
        """The README's command line for this binary, and what the script needs in its environment."""
        arguments = self.command("cargo run --release -p telemetry-engine --")
        taken = [address for address in STANDARD if not is_free(address)]
        if not taken:
            return [ENGINE, *arguments], {}
        print(f"{', '.join(taken)} taken: the default configuration runs on other ports", file=sys.stderr)
        shown = subprocess.run([ENGINE, "config", "show"], capture_output=True, text=True, check=True, timeout=60)
        grpc, http, admin = [f"127.0.0.1:{free_port()}" for _ in STANDARD]
        source = '[sources.otlp]\ntype = "otlp"\n'
        self.assertIn(source, shown.stdout)
        text = shown.stdout.replace(source, f'{source}grpc.listen = "{grpc}"\nhttp.listen = "{http}"\n')
        config = os.path.join(folder, "default.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        words = [ENGINE, *arguments, "--config", config, "--admin-listen", admin]
        return words, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{grpc}"}

    def test_packages(self):
        """The README installs what these tests have."""
        packages, = re.findall(r"`pip install ([^`]*)`", self.readme)
        self.assertEqual(sorted(packages.split()), sorted(self.requirements))

    def test_default_engine(self):
        """The script's span, data point and log record appear on the console of the engine that runs without a file."""
        script, = re.findall(r"^```python\n(.*?)^```$", self.readme, re.MULTILINE | re.DOTALL)
        with tempfile.TemporaryDirectory() as folder:
            words, environment = self.engine(folder)
            console, addresses = os.path.join(folder, "console"), os.path.join(folder, "addresses")
            with open(console, "wb") as output:
                engine = subprocess.Popen([*words, "--address-file", addresses], stdout=output)
            try:
                # The file is there once everything runs.
                while not os.path.exists(addresses):
                    self.assertIsNone(engine.poll(), "the engine ended")
                variables = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
                subprocess.run([sys.executable, "-"], input=script, text=True, check=True, timeout=120,
                               env={**variables, **environment})
                engine.send_signal(signal.SIGTERM)
                self.assertEqual(engine.wait(timeout=60), 0)
            finally:
                engine.kill()
                engine.wait()
            with open(console, encoding="utf-8") as file:
                printed = file.read()
        for record in (r"SPAN +hello +greet ", r"SUM +hello +greetings +1\b", r"WARN +hello +hello, engine "):
            lines = [line for line in printed.splitlines() if re.search(record, line)]
            self.assertEqual(len(lines), 1, f"{record} in\n{printed[-4000:]}")
            print(lines[0], file=sys.stderr)


class Sdk(unittest.TestCase):
    """One case a transport and compression: all three signals arrive, every field as the SDK set it."""

    def check(self, exporters):
        resource = Resource.create({"service.name": "shop", "service.instance.id": "42", "answer": 42, "ratio": 0.5,
                                    "tags": ["a", "ä", "日本"], "k8s.cluster.name": "to be replaced"})
        with Engine() as engine:
            spans, metrics, logs = exporters(engine)
            tracing = TracerProvider(resource=resource)
            tracing.add_span_processor(BatchSpanProcessor(spans))
            metering = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])
            logging_provider = LoggerProvider(resource=resource)
            logging_provider.add_log_record_processor(BatchLogRecordProcessor(logs))

            tracer = tracing.get_tracer("checkout", "1.2.3", attributes={"scope.key": "scope"})
            with tracer.start_as_current_span("pay", kind=SpanKind.SERVER, links=[Link(LINKED, {"why": "batch"})],
                                              attributes={"http.route": "/pay", "n": -7, "ok": True}) as span:
                span.add_event("charged", {"amount": 12.5}, timestamp=1_700_000_000_000_000_001)
                span.set_status(StatusCode.ERROR, "card declined")
                logger = logging.getLogger("checkout")
                handler = LoggingHandler(logger_provider=logging_provider)
                logger.addHandler(handler)
                logger.error("declined ⚠ %s", "visa", extra={"attempt": 3})
                logger.removeHandler(handler)
            context = span.get_span_context()

            meter = metering.get_meter("checkout", "1.2.3")
            counter = meter.create_counter("orders", unit="{order}", description="Orders taken")
            counter.add(3, {"kind": "new"})
            counter.add(4, {"kind": "old"})
            histogram = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0])
            for seconds in (0.05, 0.5, 5.0):
                histogram.record(seconds)
            meter.create_gauge("load", unit="1").set(-0.25)

            tracing.shutdown()
            metering.shutdown()
            logging_provider.shutdown()
            requests = engine.drained()

        expected_resource = {**resource.attributes, "tags": list(resource.attributes["tags"]),
                             "k8s.cluster.name": "laptop"}
        entries = {}
        for request in requests:
            (kind, batches), = request.items()
            entries.setdefault(kind, []).extend(batches)
        self.assertEqual(set(entries), {"resourceSpans", "resourceMetrics", "resourceLogs"})
        for batches in entries.values():
            for entry in batches:
                self.assertEqual(attributes(entry["resource"]), expected_resource)
        self.check_span(entries["resourceSpans"], span, context)
        self.check_metrics(entries["resourceMetrics"])
        self.check_log(entries["resourceLogs"], context)

    def check_span(self, entries, span, context):
        (entry,), scopes = entries, entries[0]["scopeSpans"]
        (scope,), ((sent,),) = scopes, [scope["spans"] for scope in scopes]
        self.assertEqual((scope["scope"]["name"], scope["scope"]["version"]), ("checkout", "1.2.3"))
        self.assertEqual(attributes(scope["scope"]), {"scope.key": "scope"})
        self.assertEqual(sent["traceId"].lower(), format(context.trace_id, "032x"))
        self.assertEqual(sent["spanId"].lower(), format(context.span_id, "016x"))
        self.assertEqual(int(sent["startTimeUnixNano"]), span.start_time)
        self.assertEqual(int(sent["endTimeUnixNano"]), span.end_time)
        self.assertEqual((sent["name"], sent["kind"]), ("pay", 2))
        self.assertEqual(attributes(sent), {"http.route": "/pay", "n": -7, "ok": True})
        self.assertEqual(sent["status"], {"message": "card declined", "code": 2})
        event, = sent["events"]
        self.assertEqual((event["name"], int(event["timeUnixNano"])), ("charged", 1_700_000_000_000_000_001))
        self.assertEqual(attributes(event), {"amount": 12.5})
        link, = sent["links"]
        self.assertEqual((link["traceId"].lower(), link["spanId"].lower()),
                         (format(LINKED.trace_id, "032x"), format(LINKED.span_id, "016x")))
        self.assertEqual(attributes(link), {"why": "batch"})

    def check_metrics(self, entries):
        found = {}
        for entry in entries:
            for scope in entry["scopeMetrics"]:
                self.assertEqual(scope["scope"]["name"], "checkout")
                found.update({metric["name"]: metric for metric in scope["metrics"]})
        self.assertEqual(set(found), {"orders", "latency", "load"})
        orders = found["orders"]
        self.assertEqual((orders["unit"], orders["description"]), ("{order}", "Orders taken"))
        self.assertEqual((orders["sum"]["aggregationTemporality"], orders["sum"]["isMonotonic"]), (2, True))
        points = {attributes(point)["kind"]: int(point["asInt"]) for point in orders["sum"]["dataPoints"]}
        self.assertEqual(points, {"new": 3, "old": 4})
        point, = found["latency"]["histogram"]["dataPoints"]
        self.assertEqual([int(count) for count in point["bucketCounts"]], [1, 1, 1])
        self.assertEqual((int(point["count"]), point["sum"], point["explicitBounds"]), (3, 5.55, [0.1, 1.0]))
        self.assertEqual((point["min"], point["max"]), (0.05, 5.0))
        point, = found["load"]["gauge"]["dataPoints"]
        self.assertEqual(point["asDouble"], -0.25)

    def check_log(self, entries, context):
        records = [record for entry in entries for scope in entry["scopeLogs"] for record in scope["logRecords"]]
        record, = records
        self.assertEqual(value(record["body"]), "declined ⚠ visa")
        self.assertEqual((record["severityText"], record["severityNumber"]), ("ERROR", 17))
        self.assertEqual(record["traceId"].lower(), format(context.trace_id, "032x"))
        self.assertEqual(record["spanId"].lower(), format(context.span_id, "016x"))
        self.assertEqual(attributes(record)["attempt"], 3)

    def test_grpc(self):
        self.check(lambda engine: [exporter(endpoint=f"http://127.0.0.1:{engine.grpc}", insecure=True)
                                   for exporter in (GrpcSpans, GrpcMetrics, GrpcLogs)])

    def test_http(self):
        paths = zip((HttpSpans, HttpMetrics, HttpLogs), ("traces", "metrics", "logs"))
        self.check(lambda engine: [exporter(endpoint=f"http://127.0.0.1:{engine.http}/v1/{path}")
                                   for exporter, path in paths])

    def test_http_gzip(self):
        paths = zip((HttpSpans, HttpMetrics, HttpLogs), ("traces", "metrics", "logs"))
        self.check(lambda engine: [exporter(endpoint=f"http://127.0.0.1:{engine.http}/v1/{path}",
                                            compression=Compression.Gzip)
                                   for exporter, path in paths])


if __name__ == "__main__":
    unittest.main(verbosity=2)
