"""OpenTelemetry spans of runs: one that sends, one that processes, linked.

A run's message carries the W3C ``traceparent`` of the span that sent it. Each
attempt is the root of a trace of its own (a run may start long after it was
sent, and more than once) with a link to that span. Plain tasks are left to
OpenTelemetry's own instrumentation of Celery.

Needs the extra ``otel``; without it, or without an SDK in the process, nothing
happens here. The SDK is yours to set up. Its batches live in threads, which a
fork does not take along, so with the prefork pool make it in each pool process,
and flush it when that process ends::

    @signals.beat_init.connect(weak=False)
    @signals.worker_process_init.connect(weak=False)
    def set_up(**_):
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)

    @signals.worker_process_shutdown.connect(weak=False)
    def flush(**_):
        trace.get_tracer_provider().shutdown()

A pool process that is killed takes its open span with it: count runs by the
metrics, not by spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from celery.exceptions import Ignore, Reject, Retry

from flask_metronome.endings import run_of
from metronome_broker import OutboundMessage, PublishReport

_W3C: Any = None
try:
    from opentelemetry import trace
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    _W3C = TraceContextTextMapPropagator()
except ImportError:  # the extra is not installed
    pass

#: Run headers → attributes of both spans.
_OF_HEADERS = {
    "metronome_schedule": "metronome.schedule",
    "metronome_run": "metronome.run",
    "metronome_due_at": "metronome.due_at",
}
#: Not failures: the body comes back, or was not to run.
_NO_ERRORS = (Retry, Ignore, Reject)

Publish = Callable[[Sequence[OutboundMessage]], PublishReport]


def send(publish: Publish, messages: Sequence[OutboundMessage]) -> PublishReport:
    """Publish runs, each in a producer span that ends with its confirm.

    :param publish: sends a batch and reports on each message of it.
    """
    spans = _producers(messages)
    if not spans:
        return publish(messages)
    try:
        report = publish([_carrying(each, spans[each.run_id]) for each in messages])
        for run_id, why in _refusals(report).items():
            _fail(spans[run_id], why)
        return report
    finally:
        for span in spans.values():
            span.end()


@contextmanager
def processing(request: Any, exchange: str) -> Iterator[None]:
    """A consumer span around the body of a run's attempt.

    :param request: Celery's request; one that is no run's makes no span.
    :param exchange: the one that runs are published on.
    """
    if _W3C is None or run_of(request) is None:
        yield
        return
    headers: Mapping[str, Any] = request.headers
    key = str((request.delivery_info or {}).get("routing_key") or "")
    with _tracer().start_as_current_span(
        f"process {exchange}",
        kind=SpanKind.CONSUMER,
        attributes=_attributes("process", exchange, key, request.id, headers)
        | {"metronome.retries": request.retries or 0},
        links=_links(headers),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except _NO_ERRORS:
            raise
        except BaseException as error:
            # neither its text nor its traceback: they may hold secrets
            _fail(span, type(error).__qualname__)
            raise


def _producers(messages: Sequence[OutboundMessage]) -> dict[str, Any]:
    """A span by run id; none at all when there is no SDK."""
    if _W3C is None:
        return {}
    tracer, spans = _tracer(), {}
    for each in messages:
        span = tracer.start_span(
            f"send {each.exchange}",
            context=_W3C.extract(_strings(each.headers)),
            kind=SpanKind.PRODUCER,
            attributes=_attributes(
                "send", each.exchange, each.routing_key, each.run_id, each.headers
            ),
        )
        if not span.get_span_context().is_valid:
            return {}
        spans[each.run_id] = span
    return spans


def _carrying(message: OutboundMessage, span: Any) -> OutboundMessage:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span))
    return replace(message, headers={**message.headers, **carrier})


def _refusals(report: PublishReport) -> dict[str, str]:
    """Why what is not surely with the broker is not, by run id."""
    found = dict.fromkeys(report.unknown, "unknown")
    found |= dict.fromkeys(report.nacked, "nacked")
    return found | dict.fromkeys(report.returned, "returned")


def _links(headers: Mapping[str, Any]) -> list[Any]:
    sent = trace.get_current_span(_W3C.extract(_strings(headers)))
    context = sent.get_span_context()
    return [Link(context)] if context.is_valid else []


def _attributes(
    operation: str, exchange: str, key: str, run_id: str, headers: Mapping[str, Any]
) -> dict[str, Any]:
    found = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": exchange,
        "messaging.rabbitmq.destination.routing_key": key,
        "messaging.message.id": run_id,
    }
    for header, attribute in _OF_HEADERS.items():
        if headers.get(header):
            found[attribute] = str(headers[header])
    return found


def _strings(headers: Mapping[str, Any]) -> dict[str, str]:
    return {k: v for k, v in headers.items() if isinstance(v, str)}


def _fail(span: Any, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _tracer() -> Any:
    # asked each time: the SDK may be set up later than this is imported
    return trace.get_tracer("flask_metronome")
