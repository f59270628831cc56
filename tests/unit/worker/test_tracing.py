"""Spans of runs: what sends, what processes, and what links them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore, Retry
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from worker_app_in_process import App

from flask_metronome import tracing
from flask_metronome.endings import own_headers
from metronome_broker import OutboundMessage, PublishReport

RUN_HEADERS = {
    "metronome_run": "r1",
    "metronome_schedule": "daily",
    "metronome_due_at": "2026-01-01T00:00:00Z",
}
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


class Spans:
    """What this process's SDK has recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def one(self) -> ReadableSpan:
        (span,) = self.all
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """An SDK for this test; OpenTelemetry itself lets a process set it only once."""
    made = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made.provider)
    yield made
    made.provider.shutdown()


def message(run_id: str, **headers: Any) -> OutboundMessage:
    return OutboundMessage(
        run_id=run_id,
        exchange="metronome.runs",
        routing_key="mail.shop:report",
        body=b"[]",
        headers={**RUN_HEADERS, "metronome_run": run_id, **headers},
    )


class Broker:
    """A ``publish`` that keeps what it was given and answers as it was told."""

    def __init__(self, report: PublishReport | None = None) -> None:
        self.report = report
        self.messages: list[OutboundMessage] = []

    def publish(self, messages: Sequence[OutboundMessage]) -> PublishReport:
        self.messages += messages
        return self.report or PublishReport(
            confirmed=frozenset(each.run_id for each in messages)
        )


def traceparent(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    ids = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{ids[0]}-{ids[1]}-{context.trace_flags:02x}"


# -- sending ------------------------------------------------------------------------


def test_each_run_is_sent_in_a_span_that_its_message_names(spans: Spans) -> None:
    broker = Broker()
    tracing.send(broker.publish, [message("r1"), message("r2")])
    assert [each.name for each in spans.all] == ["send metronome.runs"] * 2
    carried = [each.headers["traceparent"] for each in broker.messages]
    assert carried == [traceparent(each) for each in spans.all]
    assert len(set(carried)) == 2
    span = spans.all[0]
    assert (span.kind, span.parent) == (SpanKind.PRODUCER, None)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "metronome.runs",
        "messaging.rabbitmq.destination.routing_key": "mail.shop:report",
        "messaging.message.id": "r1",
        "metronome.schedule": "daily",
        "metronome.run": "r1",
        "metronome.due_at": "2026-01-01T00:00:00Z",
    }


def test_a_message_keeps_everything_else(spans: Spans) -> None:
    broker, sent = Broker(), message("r1", other=1)
    tracing.send(broker.publish, [sent])
    (found,) = broker.messages
    assert found.headers.items() - {
        "traceparent": traceparent(spans.one())
    }.items() == (sent.headers.items())
    assert (found.body, found.routing_key) == (sent.body, sent.routing_key)


def test_what_the_broker_did_not_take_is_an_error(spans: Spans) -> None:
    report = PublishReport(
        confirmed=frozenset({"a"}),
        nacked=frozenset({"b"}),
        returned={"c": "NO_ROUTE"},
        unknown=frozenset({"d"}),
        error="gone",
    )
    found = tracing.send(Broker(report).publish, [message(run) for run in "abcd"])
    assert found is report
    kinds = [(each.attributes or {}).get("error.type") for each in spans.all]
    assert kinds == [None, "nacked", "returned", "unknown"]
    assert [each.status.is_ok for each in spans.all] == [True, False, False, False]


def test_spans_end_also_when_publishing_raises(spans: Spans) -> None:
    def publish(messages: Sequence[OutboundMessage]) -> PublishReport:
        raise RuntimeError("odd")

    with pytest.raises(RuntimeError):
        tracing.send(publish, [message("r1")])
    assert spans.one().end_time


def test_a_trace_that_the_schedules_options_name_goes_on(spans: Spans) -> None:
    broker = Broker()
    tracing.send(broker.publish, [message("r1", traceparent=PARENT)])
    assert spans.one().parent is not None
    assert traceparent(spans.one()).split("-")[1] == TRACE_ID
    assert broker.messages[0].headers["traceparent"] == traceparent(spans.one())


def test_without_an_sdk_messages_stay_as_they_are() -> None:
    broker, sent = Broker(), [message("r1"), message("r2")]
    tracing.send(broker.publish, sent)
    assert [a is b for a, b in zip(broker.messages, sent, strict=True)] == [True, True]


WITHOUT_OTEL = """
import sys
sys.modules["opentelemetry"] = None
from flask_metronome import celery_app, publishing, tracing
with tracing.processing(None, "x"):
    print(tracing.send(len, ["a", "b"]))
"""


def test_nothing_is_needed_where_opentelemetry_is_not_installed() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_OTEL],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout == "2\n", answer.stderr


# -- processing ---------------------------------------------------------------------


def deliver(shop: App, task: Any, *args: Any, **headers: Any) -> None:
    shop.store.add_run("r1")
    shop.trace(task, *args, run_id="r1", **{**RUN_HEADERS, **headers})


def test_a_body_runs_in_a_span_linked_to_who_sent_it(shop: App, spans: Spans) -> None:
    @shop.metronome.task(name="shop.report")
    def report() -> str:
        return format_span_id(trace.get_current_span().get_span_context().span_id)

    deliver(shop, report, traceparent=PARENT)
    span = spans.one()
    exchange = shop.state.topology.run_exchange
    assert span.name == f"process {exchange}"
    assert (span.kind, span.parent) == (SpanKind.CONSUMER, None)
    assert [format_span_id(link.context.span_id) for link in span.links] == [SPAN_ID]
    assert traceparent(span).split("-")[1] != TRACE_ID
    assert shop.celery.AsyncResult("r1").get() == traceparent(span).split("-")[2]
    assert dict(span.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": exchange,
        "messaging.rabbitmq.destination.routing_key": "default.shop:report",
        "messaging.message.id": "r1",
        "metronome.schedule": "daily",
        "metronome.run": "r1",
        "metronome.due_at": "2026-01-01T00:00:00Z",
        "metronome.retries": 0,
    }
    assert shop.store.attempts("r1")[0].trace_id == TRACE_ID


def test_a_run_that_was_sent_without_a_span_links_to_none(
    shop: App, spans: Spans
) -> None:
    @shop.metronome.task(name="shop.report")
    def report() -> None: ...

    deliver(shop, report, traceparent="nonsense")
    assert not spans.one().links


def test_a_failure_is_an_error_that_tells_no_secrets(shop: App, spans: Spans) -> None:
    @shop.metronome.task(name="shop.report")
    def report(password: str) -> None:
        raise ValueError(f"cannot log in with {password}")

    deliver(shop, report, "hunter2")
    span = spans.one()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize("kind", [Ignore, Retry])
def test_what_is_ignored_or_comes_back_is_no_error(
    shop: App, spans: Spans, kind: type[Exception]
) -> None:
    @shop.metronome.task(name="shop.report")
    def report() -> None:
        raise kind

    deliver(shop, report)
    assert spans.one().status.status_code is StatusCode.UNSET


def test_only_runs_that_start_are_traced(shop: App, spans: Spans) -> None:
    @shop.metronome.task(name="shop.report")
    def report() -> None: ...

    shop.trace(report, traceparent=PARENT)
    shop.store.add_run("r1", state="cancelled")
    shop.trace(report, run_id="r1", traceparent=PARENT)
    assert not spans.all


def test_a_retry_carries_the_trace_on() -> None:
    request = SimpleNamespace(
        headers={"traceparent": PARENT, "tracestate": "a=1", "x": 1, **RUN_HEADERS}
    )
    kept = {"traceparent": PARENT, "tracestate": "a=1", **RUN_HEADERS}
    assert own_headers(request) == kept
