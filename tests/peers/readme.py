#!/usr/bin/env python3
"""Does what the README says under "Connect" and "Send something", in the README's own words.

usage: readme.py ENGINE

Each test runs the engine without a file on its standard ports and what the README has for one client. Where a standard
port is taken, the same configuration runs on other ports, and the output says so. What install lines name must be what is
pinned here; it is not installed again.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import environment

sys.dont_write_bytecode = True
if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    environment.enter()

import programs  # noqa: E402

ENGINE = os.path.abspath(sys.argv.pop(1))
# Where the engine listens when it runs without a file: OTLP over gRPC, OTLP over HTTP, administration.
STANDARD = ["127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:13133"]


def read(*path):
    with open(os.path.join(environment.ROOT, *path), encoding="utf-8") as file:
        return file.read()


README = read("README.md")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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


def block(language, start):
    """The only code block of the README in a language that begins so."""
    text, = [text for text in re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
             if text.startswith(start)]
    return text


class Default:
    """The engine as the README starts it, and its console."""

    def __init__(self, folder):
        line, = re.findall(r"^cargo run --release -p telemetry-engine --(.*)$", README, re.MULTILINE)
        words = [ENGINE, *shlex.split(line)]
        self.moved = {}
        if taken := [address for address in STANDARD if not is_free(address)]:
            print(f"{', '.join(taken)} taken: the default configuration runs on other ports", file=sys.stderr)
            self.moved = {standard: f"127.0.0.1:{free_port()}" for standard in STANDARD}
            words += self.elsewhere(folder)
        self.console, addresses = os.path.join(folder, "console"), os.path.join(folder, "addresses")
        with open(self.console, "wb") as output:
            self.process = subprocess.Popen([*words, "--address-file", addresses], stdout=output)
        # The file is there once everything runs.
        while not os.path.exists(addresses):
            if self.process.poll() is not None:
                raise RuntimeError("the engine ended")

    def elsewhere(self, folder):
        grpc, http, admin = self.moved.values()
        shown = subprocess.run([ENGINE, "config", "show"], capture_output=True, text=True, check=True, timeout=60).stdout
        source = '[sources.otlp]\ntype = "otlp"\n'
        if source not in shown:
            raise RuntimeError(f"no {source!r} in the default configuration")
        config = os.path.join(folder, "default.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(shown.replace(source, f'{source}grpc.listen = "{grpc}"\nhttp.listen = "{http}"\n'))
        return ["--config", config, "--admin-listen", admin]

    def here(self, text):
        """The README's text with the addresses where the engine really listens."""
        for standard, moved in self.moved.items():
            text = text.replace(standard, moved)
        return text

    def printed(self):
        """Ends the engine in good order and returns its console."""
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(timeout=60):
            raise RuntimeError(f"the engine ended with {code}")
        with open(self.console, encoding="utf-8") as file:
            return file.read()

    def close(self):
        self.process.kill()
        self.process.wait()


class Readme(unittest.TestCase):
    """One client a test: its records appear on the console."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.engine = Default(self.folder)
        self.addCleanup(self.engine.close)

    def run_lines(self, lines, folder, **variables):
        """Runs lines of a shell with the prepared Python in front."""
        path = f"{os.path.dirname(environment.PYTHON)}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-euc", self.engine.here(lines)], cwd=folder, check=True, timeout=120,
                       env={**programs.own_variables(), "PATH": path, **variables})

    def expect(self, *records):
        printed = self.engine.printed()
        for record in records:
            lines = [line for line in printed.splitlines() if re.search(record, line)]
            self.assertEqual(len(lines), 1, f"{record} in\n{printed[-4000:]}")
            print(lines[0][:120], file=sys.stderr)

    def assert_pinned(self, packages, pinned):
        self.assertEqual([package for package in packages if package not in pinned], [])

    def test_python(self):
        """The lines for Python bring a span, a data point and a log record of a program that knows the API only."""
        install, lines = block("sh", "pip install ").split("\n", 1)
        pinned = [line.split("==")[0] for line in read("tests", "peers", "python", "requirements.txt").splitlines()]
        self.assert_pinned(shlex.split(install)[2:], pinned)
        self.run_lines(lines, os.path.join(environment.PEERS, "python"), PYTHONDONTWRITEBYTECODE="1")
        self.expect(r"SPAN +\S+ +greet ", r"SUM +\S+ +greetings +1\b", r"WARN +\S+ +hello, engine\b")

    def test_python_script(self):
        """The script brings its span, its data point and its log record."""
        packages, = re.findall(r"`pip install ([^`]*)`", README)
        pinned = [line.split("==")[0] for line in read("tests", "peers", "python", "requirements.txt").splitlines()]
        self.assert_pinned(packages.split(), pinned)
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.engine.here("http://127.0.0.1:4317")} if self.engine.moved else {}
        subprocess.run([sys.executable, "-"], input=block("python", "import"), text=True, check=True, timeout=120,
                       env={**programs.own_variables(), **variables})
        self.expect(r"SPAN +hello +greet ", r"SUM +hello +greetings +1\b", r"WARN +hello +hello, engine ")

    def test_javascript(self):
        """The lines for JavaScript bring spans of HTTP without code, a data point and a log record."""
        install, lines = block("sh", "npm install ").split("\n", 1)
        pinned = json.loads(read("tests", "peers", "javascript", "package.json"))["dependencies"]
        self.assert_pinned(shlex.split(install)[2:], pinned)
        # Without a cloud around it the detection of clouds only waits.
        self.run_lines(lines, os.path.join(environment.BUILT, "javascript"), OTEL_NODE_RESOURCE_DETECTORS="none")
        self.expect(r"SPAN .* GET .* server ", r"SPAN .* GET .* client ", r"SUM .* greetings +1\b", r"WARN .* hello, engine")

    def test_go(self):
        """The lines for Go bring a span."""
        install, lines = block("sh", "go get ").split("\n", 1)
        known = read("tests", "peers", "go", "go.mod").split()
        self.assert_pinned(shlex.split(install)[2:], known)
        self.run_lines(lines, os.path.join(environment.PEERS, "go", "hello"))
        self.expect(r"SPAN .* greet ")

    def test_collector(self):
        """The exporter for the Collector brings what an SDK sends to that Collector."""
        exporter = os.path.join(self.folder, "exporter.yaml")
        with open(exporter, "w", encoding="utf-8") as file:
            file.write(self.engine.here(block("yaml", "exporters:")))
        name, = re.findall(r"^  (\w+):$", block("yaml", "exporters:"), re.MULTILINE)
        collector = programs.Collector("collector", self.folder, {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}}},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": [name]}}}}, exporter)
        self.addCleanup(collector.kill)
        subprocess.run([os.path.join(environment.BUILT, "hello")], check=True, timeout=60, env={
            **programs.own_variables(), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.addresses['otlp HTTP']}"})
        collector.end()
        self.expect(r"SPAN .* greet ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
