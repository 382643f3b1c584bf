"""The programs of the matrix while they run: the engine, the Collector, and the SDK programs that send once."""

import json
import os
import signal
import subprocess
import time

import environment

START_SECONDS = 60
SEND_SECONDS = 120
SENDERS = {"python": [environment.PYTHON, os.path.join(environment.PEERS, "python", "sender.py")],
           "go": [os.path.join(environment.BUILT, "sender")],
           "javascript": ["node", os.path.join(environment.BUILT, "javascript", "sender.mjs")]}


def make_certificate(folder):
    """An authority and a certificate of it for 127.0.0.1; returns the paths of the authority, the chain and the key."""
    path = {name: os.path.join(folder, name) for name in ("ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "san")}
    with open(path["san"], "w", encoding="utf-8") as file:
        file.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
                   "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
            ["req", "-x509", *curve, "-keyout", path["ca.key"], "-out", path["ca.pem"], "-days", "2", "-subj", "/CN=peers",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
            ["req", *curve, "-keyout", path["server.key"], "-out", path["server.csr"], "-subj", "/CN=127.0.0.1"],
            ["x509", "-req", "-in", path["server.csr"], "-CA", path["ca.pem"], "-CAkey", path["ca.key"], "-CAcreateserial",
             "-days", "2", "-extfile", path["san"], "-out", path["server.pem"]]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return path["ca.pem"], path["server.pem"], path["server.key"]


class Program:
    """A program that runs until it is told to end. Its output is in a file, and in the error where it fails."""

    def __init__(self, name, folder, words):
        self.name, self.log = name, os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_for(self, condition):
        """Waits until `condition` returns something and returns it."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := condition()):
            try:
                code = self.process.wait(timeout=0.02)
                raise RuntimeError(f"{self.name} ended with {code}:\n{self.output()[-4000:]}")
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not start:\n{self.output()[-4000:]}") from None
        return found

    def end(self):
        """Ends it in good order: what it holds is delivered first."""
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(timeout=SEND_SECONDS):
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.output()[-4000:]}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Engine(Program):
    """The engine with a configuration; `addresses` has one for each component and key, such as `apps http.listen`."""

    def __init__(self, binary, folder, config):
        path, addresses = os.path.join(folder, "engine.toml"), os.path.join(folder, "addresses")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config)
        super().__init__("engine", folder, [binary, "run", "--config", path, "--address-file", addresses])

        def read():
            # The file is there once everything runs.
            if not os.path.exists(addresses):
                return None
            with open(addresses, encoding="utf-8") as file:
                return [line.split() for line in file]
        self.addresses = {f"{component} {key}": address for component, address, key in self.wait_for(read)}


class Collector(Program):
    """The Collector with a configuration and files that add to it.

    `addresses` has one for each receiver and protocol, such as `otlp/1 HTTP`.
    """

    def __init__(self, name, folder, config, *files):
        config = {**config, "service": {**config["service"], "telemetry": {
            "metrics": {"level": "none"}, "logs": {"encoding": "json", "sampling": {"enabled": False}}}}}
        path = os.path.join(folder, f"{name}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)
        arguments = [f"--config={file}" for file in (path, *files)]
        super().__init__(name, folder, [os.path.join(environment.BUILT, "collector"), *arguments])
        self.wait_for(lambda: "Everything is ready" in self.output())
        self.addresses = {}
        for line in self.output().splitlines():
            entry = json.loads(line)
            if entry["msg"] in ("Starting GRPC server", "Starting HTTP server"):
                self.addresses[f"{entry['otelcol.component.id']} {entry['msg'].split()[1]}"] = entry["endpoint"]


def own_variables():
    """The environment without what steers an SDK, its transports and the authorities that they trust."""
    return {name: text for name, text in os.environ.items()
            if not name.startswith(("OTEL_", "GRPC_", "SSL_CERT", "NODE_EXTRA_CA", "NODE_OPTIONS"))
            and not name.endswith("CA_BUNDLE")}


def complaint_of(output):
    """The line that says most of what failed."""
    lines = [line for line in output.splitlines() if line.strip()] or ["fails in silence"]
    return next((line for line in lines if "error" in line.lower()), lines[0])


def send(client, cell, endpoint, protocol, compression, authority):
    """Runs the program of an SDK; returns the times between which it ran, and what it complained of where it failed."""
    variables = own_variables()
    variables.update({
        "PEERS_CELL": cell, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRIC_EXPORT_INTERVAL": "3600000", "no_proxy": "127.0.0.1"})
    if compression != "none":
        variables["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
    if endpoint.startswith("https://"):
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = authority
    began = time.time_ns()
    try:
        done = subprocess.run(SENDERS[client], env=variables, capture_output=True, text=True, check=False,
                              timeout=SEND_SECONDS)
        output, failed = (done.stderr + done.stdout).strip(), done.returncode != 0
    except subprocess.TimeoutExpired as error:
        output, failed = f"does not end after {SEND_SECONDS} s: {error.stderr}", True
    # The clock of Node runs in whole milliseconds.
    window = began - 1_000_000, time.time_ns() + 1_000_000
    return window, complaint_of(output) if failed else None
