#!/usr/bin/env python3
"""Sends with real SDKs and a real Collector through the engine, and compares every field of what arrives.

usage: matrix.py ENGINE [--short] [--without-engine]

  --short           every SDK, protocol, TLS and compression at least once instead of every combination
  --without-engine  SDKs straight into the capture server: whether `expected.json` says what they send

One engine runs with sources in clear and with TLS. SDK programs send to it, a Collector before it sends to it, and it
sends to a Collector behind it. Its sinks deliver to the capture server over gRPC, over HTTP, and as JSON. Every program
ends in good order, along the way of the data, before anything is judged: what is missing then is lost, and nothing comes
later.
Prints a table, every difference below it, and ends with 1 if there is one. Sets up all it needs in `.venv/` and `target/`.
"""

import argparse
import concurrent.futures
import os
import sys
import tempfile

import environment

# The files beside this one need the packages of the prepared environment.
sys.dont_write_bytecode = True
if __name__ == "__main__" and len(sys.argv) > 1 and not {"-h", "--help"} & set(sys.argv):
    environment.enter()

from dataclasses import dataclass  # noqa: E402

import capture  # noqa: E402
import compare  # noqa: E402
import programs  # noqa: E402

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
# What the Go SDK has no exporter for.
ABSENT = {("go", "http/json", "metrics"), ("go", "http/json", "logs")}
BEFORE_COMPRESSIONS = {"grpc": ("none", "gzip", "zstd", "snappy"),
                       "http/protobuf": ("none", "gzip", "zstd", "snappy", "x-snappy-framed"),
                       "http/json": ("none", "gzip", "zstd", "snappy", "x-snappy-framed")}
BEHIND_COMPRESSIONS = {protocol: ("none", "gzip", "zstd", "snappy") for protocol in PROTOCOLS}
EXPORTERS = {"grpc": "otlp_grpc", "http/protobuf": "otlp_http", "http/json": "otlp_http"}


@dataclass(frozen=True)
class Cell:
    """One way through the engine: a row of the table."""

    client: str
    way: str
    protocol: str
    tls: str
    compression: str

    @property
    def name(self):
        return f"{self.client} {self.way} {self.protocol} {self.tls} {self.compression}"

    @property
    def spoken(self):
        """What the SDK speaks itself; the other settings are those of the Collector where there is one."""
        return self.protocol if self.way in ("direct", "alone") else "grpc"

    @property
    def listeners(self):
        """Where on the capture server it arrives."""
        return {"direct": ("grpc", "http", "json"), "before": ("grpc", "http", "json"), "behind": ("collector",),
                "alone": (self.protocol.split("/")[0],)}[self.way]

    def signals(self):
        return [signal for signal in capture.SIGNALS if (self.client, self.spoken, signal) not in ABSENT]


def every_cell():
    for client in programs.SENDERS:
        for protocol in PROTOCOLS:
            for tls in ("clear", "tls"):
                for compression in ("none", "gzip"):
                    yield Cell(client, "direct", protocol, tls, compression)
    for way, by_protocol in (("before", BEFORE_COMPRESSIONS), ("behind", BEHIND_COMPRESSIONS)):
        for protocol, compressions in by_protocol.items():
            for tls in ("clear", "tls"):
                for compression in compressions:
                    yield Cell("go", way, protocol, tls, compression)


def short_cells():
    kinds = {"direct": {("grpc", "tls", "gzip"), ("http/protobuf", "clear", "none"), ("http/json", "tls", "gzip")},
             "before": {("grpc", "tls", "gzip"), ("grpc", "clear", "snappy"),
                       ("http/protobuf", "clear", "zstd"), ("http/protobuf", "clear", "snappy"),
                       ("http/json", "clear", "gzip")},
             "behind": {("grpc", "tls", "zstd"), ("http/protobuf", "clear", "gzip"), ("http/json", "clear", "snappy")}}
    return [cell for cell in every_cell() if (cell.protocol, cell.tls, cell.compression) in kinds[cell.way]]


def collector_behind(folder, certificate, target):
    """A Collector that takes in OTLP in clear and with TLS, and sends to the capture server."""
    _, chain, key = certificate
    tls = {"tls": {"cert_file": chain, "key_file": key}}
    listen = {"endpoint": "127.0.0.1:0"}
    return programs.Collector("collector-behind", folder, {
        "receivers": {"otlp/clear": {"protocols": {"grpc": listen, "http": listen}},
                      "otlp/tls": {"protocols": {"grpc": {**listen, **tls}, "http": {**listen, **tls}}}},
        "exporters": {"otlp_grpc": {"endpoint": target, "tls": {"insecure": True}}},
        "service": {"pipelines": {signal: {"receivers": ["otlp/clear", "otlp/tls"], "exporters": ["otlp_grpc"]}
                                  for signal in capture.SIGNALS}}})


def engine_of(binary, folder, certificate, cells, targets, behind):
    """The engine: sources in clear and with TLS that feed both sinks, and a way of its own for each cell behind it."""
    authority, chain, key = certificate
    tls = f'tls = {{ certificate = "{chain}", key = "{key}" }}'
    config = f"""version = 1
[admin]
listen = "127.0.0.1:0"
[sources.clear]
type = "otlp"
grpc.listen = "127.0.0.1:0"
http.listen = "127.0.0.1:0"
[sources.tls]
type = "otlp"
grpc = {{ listen = "127.0.0.1:0", {tls} }}
http = {{ listen = "127.0.0.1:0", {tls} }}
[sinks.grpc]
type = "otlp"
inputs = ["clear", "tls"]
endpoint = "http://{targets['grpc']}"
[sinks.http]
type = "otlp"
inputs = ["clear", "tls"]
endpoint = "http://{targets['http']}"
protocol = "http"
[sinks.json]
type = "otlp"
inputs = ["clear", "tls"]
endpoint = "http://{targets['json']}"
protocol = "http"
encoding = "json"
compression = "gzip"
"""
    for index, cell in enumerate(cell for cell in cells if cell.way == "behind"):
        protocol = cell.protocol.split("/")[0]
        scheme = "http" if cell.tls == "clear" else "https"
        config += f"""[sources.behind_{index}]
type = "otlp"
grpc.listen = "127.0.0.1:0"
[sinks.collector_{index}]
type = "otlp"
inputs = ["behind_{index}"]
endpoint = "{scheme}://{behind.addresses[f'otlp/{cell.tls} {protocol.upper()}']}"
protocol = "{protocol}"
compression = "{cell.compression}"
"""
        if cell.protocol == "http/json":
            config += 'encoding = "json"\n'
        if cell.tls == "tls":
            config += f'tls.ca = "{authority}"\n'
    return programs.Engine(binary, folder, config)


def collector_before(folder, certificate, cells, engine):
    """A Collector with a receiver, an exporter and pipelines for each cell."""
    config = {"receivers": {}, "exporters": {}, "service": {"pipelines": {}}}
    for index, cell in enumerate(cell for cell in cells if cell.way == "before"):
        receiver, exporter = f"otlp/{index}", f"{EXPORTERS[cell.protocol]}/{index}"
        config["receivers"][receiver] = {"protocols": {"grpc": {"endpoint": "127.0.0.1:0"}}}
        address = engine.addresses[f"{cell.tls} {cell.protocol.split('/')[0]}.listen"]
        scheme = "http" if cell.tls == "clear" else "https"
        config["exporters"][exporter] = settings = {
            "endpoint": f"{scheme}://{address}", "compression": cell.compression,
            "tls": {"insecure": True} if cell.tls == "clear" else {"ca_file": certificate[0]}}
        if cell.protocol == "http/json":
            settings["encoding"] = "json"
        for signal in capture.SIGNALS:
            config["service"]["pipelines"][f"{signal}/{index}"] = {"receivers": [receiver], "exporters": [exporter]}
    return programs.Collector("collector-before", folder, config)


def run(binary, cells, folder, captured):
    """Sends all cells through the engine; returns what each sender said."""
    certificate = programs.make_certificate(folder)
    targets = {"grpc": captured.listen_grpc("grpc"), "http": captured.listen_http("http"),
               "json": captured.listen_http("json")}
    running = []
    try:
        running.append(behind := collector_behind(folder, certificate, captured.listen_grpc("collector")))
        running.append(engine := engine_of(binary, folder, certificate, cells, targets, behind))
        running.append(before := collector_before(folder, certificate, cells, engine))
        jobs, count = [], {"before": 0, "behind": 0}
        for cell in cells:
            if cell.way == "direct":
                scheme = "http" if cell.tls == "clear" else "https"
                endpoint = f"{scheme}://{engine.addresses[f'{cell.tls} ' + cell.protocol.split('/')[0] + '.listen']}"
                jobs.append((cell.client, cell.name, endpoint, cell.protocol, cell.compression, certificate[0]))
                continue
            index = count[cell.way]
            count[cell.way] += 1
            address = (before.addresses[f"otlp/{index} GRPC"] if cell.way == "before"
                       else engine.addresses[f"behind_{index} grpc.listen"])
            jobs.append((cell.client, cell.name, f"http://{address}", cell.spoken, "none", None))
        said = send_all(jobs)
        for program in reversed(running):
            program.end()
            if program is not engine:
                complaints = [line for line in program.output().splitlines() if '"level":"error"' in line]
                captured.problems.extend(f"{program.name}: {line}" for line in complaints[:5])
        return said
    finally:
        for program in running:
            program.kill()


def run_alone(cells, captured):
    """Sends all cells straight into the capture server."""
    targets = {"grpc": captured.listen_grpc("grpc"), "http": captured.listen_http("http")}
    return send_all([(cell.client, cell.name, f"http://{targets[cell.listeners[0]]}", cell.protocol, cell.compression, None)
                     for cell in cells])


def send_all(jobs):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: programs.send(*job), jobs))


def judge(cells, said, captured):
    """The differences of every cell and signal, by both."""
    arrived = {(listener, signal): compare.cells_of(signal, requests)
               for (listener, signal), requests in captured.arrived.items()}
    file = os.path.join(environment.PEERS, "expected.json")
    found, known = {}, set()
    for cell, (window, complaint) in zip(cells, said):
        expectation = compare.Expectation(file, cell)
        for signal in cell.signals():
            found[cell, signal] = problems = []
            if complaint:
                problems.append(f"client: {complaint}")
            for listener in cell.listeners:
                known.add((listener, signal, cell.name))
                actual = arrived.get((listener, signal), {}).get(cell.name)
                if actual is None:
                    problems.append(f"nothing arrived over {listener}")
                    continue
                problems.extend(f"over {listener}: {text}"
                                for text in expectation.differences(signal, cell.name, actual, window))
    for (listener, signal), tables in arrived.items():
        captured.problems.extend(f"{listener}: {signal} of nobody: {name}" for name in tables
                                 if (listener, signal, name) not in known)
    return found


WAYS = {"direct": "{} SDK", "alone": "{} SDK without engine", "before": "Collector before", "behind": "Collector behind"}


def print_table(cells, found):
    rows = [("client", "protocol", "TLS", "compression", *capture.SIGNALS)]
    for cell in cells:
        results = []
        for signal in capture.SIGNALS:
            if (cell, signal) not in found:
                results.append("-")
            else:
                results.append(found[cell, signal][0][:60] if found[cell, signal] else "ok")
        tls = "TLS" if cell.tls == "tls" else "no"
        rows.append((WAYS[cell.way].format(cell.client), cell.protocol, tls, cell.compression, *results))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    for row in rows:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--without-engine", action="store_true")
    options = parser.parse_args()
    cells = short_cells() if options.short else list(every_cell())
    captured = capture.Capture()
    with tempfile.TemporaryDirectory() as folder:
        if options.without_engine:
            cells = [Cell(client, "alone", protocol, "clear", "none") for client in programs.SENDERS for protocol in PROTOCOLS]
            said = run_alone(cells, captured)
        else:
            said = run(os.path.abspath(options.engine), cells, folder, captured)
        captured.close()
    found = judge(cells, said, captured)
    print_table(cells, found)
    for (cell, signal), problems in found.items():
        for problem in problems[:20]:
            print(f"{cell.name}, {signal}: {problem}")
    for problem in captured.problems:
        print(problem)
    good = sum(not problems for problems in found.values())
    print(f"{good} of {len(found)} cells")
    return 1 if captured.problems or good < len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
