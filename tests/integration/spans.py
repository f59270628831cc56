"""Spans of other processes, in a file: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def record_spans(file: Path) -> None:
    """Set up an SDK in this process that appends each ended span to a file."""
    exporter = ConsoleSpanExporter(
        # a line at a time: several processes append
        out=file.open("a", buffering=1),
        formatter=lambda span: span.to_json(indent=None) + "\n",
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def read_spans(file: Path) -> list[dict[str, Any]]:
    """All spans that have ended."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]
