"""An OTLP receiver that keeps what arrives: gRPC and HTTP, on the messages of the `opentelemetry-proto` package.

It shares no code with the engine. It answers with success always; judging what arrived is left to `compare.py`.
"""

import base64
import collections
import concurrent.futures
import gzip
import http.server
import json
import threading

import grpc
from google.protobuf import json_format, message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

SIGNALS = ("traces", "metrics", "logs")
REQUESTS = {"traces": trace_service_pb2.ExportTraceServiceRequest,
            "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
            "logs": logs_service_pb2.ExportLogsServiceRequest}
IDS = ("traceId", "spanId", "parentSpanId")


def recode_ids(node, recode):
    """OTLP JSON writes identifiers in hexadecimal, the JSON of protobuf in Base64."""
    if isinstance(node, dict):
        return {key: recode(content) if key in IDS else recode_ids(content, recode) for key, content in node.items()}
    if isinstance(node, list):
        return [recode_ids(element, recode) for element in node]
    return node


def hexadecimal(text):
    return base64.b64decode(text).hex()


def base64_of(text):
    return base64.b64encode(bytes.fromhex(text)).decode()


class Capture:
    """What arrived, by listener and signal, as OTLP JSON."""

    def __init__(self):
        self.arrived = collections.defaultdict(list)
        self.problems = []
        self.lock = threading.Lock()
        self.servers = []

    def keep(self, listener, signal, request):
        document = json_format.MessageToDict(request, use_integers_for_enums=True)
        size = request.ByteSize()
        request.DiscardUnknownFields()
        with self.lock:
            if request.ByteSize() != size:
                self.problems.append(f"{listener}: {signal} with fields that OTLP does not have")
            self.arrived[listener, signal].append(recode_ids(document, hexadecimal))

    def listen_grpc(self, listener):
        """Starts a gRPC server on a free port and returns its address."""
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4),
                             options=[("grpc.max_receive_message_length", 64 << 20)])

        def service(base, signal, response):
            def export(_, request, context):
                self.keep(listener, signal, request)
                return response()
            return type(base.__name__, (base,), {"Export": export})()

        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service(
            trace_service_pb2_grpc.TraceServiceServicer, "traces", trace_service_pb2.ExportTraceServiceResponse), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(service(
            metrics_service_pb2_grpc.MetricsServiceServicer, "metrics",
            metrics_service_pb2.ExportMetricsServiceResponse), server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(service(
            logs_service_pb2_grpc.LogsServiceServicer, "logs", logs_service_pb2.ExportLogsServiceResponse), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.servers.append(lambda: server.stop(None).wait())
        return f"127.0.0.1:{port}"

    def listen_http(self, listener):
        """Starts an HTTP server on a free port and returns its address."""
        capture = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                signal = self.path.removeprefix("/v1/")
                body = self.chunks() if "Transfer-Encoding" in self.headers else self.rfile.read(
                    int(self.headers["Content-Length"]))
                content_type = self.headers["Content-Type"]
                code, answer = 200, b"{}" if content_type == "application/json" else b""
                try:
                    capture.keep(listener, signal, self.request_of(signal, content_type, body))
                except ValueError as error:
                    code, answer = 400, b""
                    capture.problems.append(f"{listener}: {signal}: {error}"[:300])
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def request_of(self, signal, content_type, body):
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = REQUESTS[signal]()
                try:
                    if content_type == "application/json":
                        json_format.ParseDict(recode_ids(json.loads(body), base64_of), request, ignore_unknown_fields=True)
                    else:
                        request.ParseFromString(body)
                except (json_format.ParseError, message.DecodeError) as error:
                    raise ValueError(str(error)) from error
                return request

            def chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(lambda: (server.shutdown(), server.server_close()))
        return f"127.0.0.1:{server.server_address[1]}"

    def close(self):
        for stop in self.servers:
            stop()
