"""Errors as RFC 9457 problems: ``application/problem+json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException

from flask_metronome.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    DatabaseUnreachable,
    DeadlineExceeded,
    FlowerUnreachable,
    InputInvalid,
    MetronomeError,
    NotFound,
    SchemaBehind,
)

CONTENT_TYPE = "application/problem+json"
_TYPE = "urn:flask-metronome:problem:"
_LONGEST = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One field that is wrong: what was expected, what came."""

    field: str
    expected: str
    got: Any
    message: str


class FieldsInvalid(MetronomeError):
    """Several fields of one request are wrong."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(" ".join(error.message for error in errors))


class PreconditionFailed(Conflict):
    """The schedule is at another revision than ``If-Match`` says."""


#: The status of each error; the first that fits counts.
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (FieldsInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InputInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (AlreadyExists, HTTPStatus.CONFLICT),
    (PreconditionFailed, HTTPStatus.PRECONDITION_FAILED),
    (Conflict, HTTPStatus.CONFLICT),
    (DatabaseUnreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (SchemaBehind, HTTPStatus.SERVICE_UNAVAILABLE),
    (Busy, HTTPStatus.SERVICE_UNAVAILABLE),
    (DeadlineExceeded, HTTPStatus.GATEWAY_TIMEOUT),
    (FlowerUnreachable, HTTPStatus.BAD_GATEWAY),
)


def handle_problems(blueprint: Blueprint) -> None:
    """Answer with problems wherever this blueprint's views fail.

    Only there: the host app's own error handling is left alone.
    """
    blueprint.register_error_handler(MetronomeError, _of_ours)
    blueprint.register_error_handler(HTTPException, _of_http)


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as a response."""
    body: dict[str, Any] = {
        "type": _TYPE + status.name.lower().replace("_", "-"),
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.script_root + request.path,
    }
    if errors:
        body["errors"] = [asdict(error) for error in errors]
    response = Response(
        current_app.json.dumps(body), status=int(status), content_type=CONTENT_TYPE
    )
    response.headers.update(headers or {})
    return response


def status_of(error: Exception) -> HTTPStatus:
    """The HTTP status that an error of ours means."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def short(value: Any) -> Any:
    """What came, short enough to be said back."""
    if isinstance(value, (int, float, bool, type(None))):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _of_ours(error: MetronomeError) -> Response:
    status = status_of(error)
    errors: Sequence[FieldError] = ()
    if isinstance(error, FieldsInvalid):
        errors = error.errors
    elif isinstance(error, InputInvalid):
        errors = [
            FieldError(
                field=error.field,
                expected=error.expected,
                got=short(error.got),
                message=str(error),
            )
        ]
    headers = {"Retry-After": "2"} if status >= 503 else {}
    return problem(status, str(error), errors=errors, headers=headers)


def _of_http(error: HTTPException) -> Response | HTTPException:
    if error.response is not None or error.code is None or error.code < 400:
        return error
    kept = {
        name: value
        for name, value in error.get_headers()
        if name.lower() not in ("content-type", "content-length")
    }
    status = HTTPStatus(error.code)
    return problem(status, error.description or status.phrase, headers=kept)
