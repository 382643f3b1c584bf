"""A program that knows the API of OpenTelemetry only: what the README's lines for Python run."""

import logging

from opentelemetry import metrics, trace

with trace.get_tracer("hello").start_as_current_span("greet"):
    metrics.get_meter("hello").create_counter("greetings").add(1)
    logging.getLogger("hello").warning("hello, engine")
