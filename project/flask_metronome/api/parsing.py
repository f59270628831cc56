"""Reads queries and bodies; whatever is wrong is named, field by field."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request, request
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from flask_metronome.api.problems import FieldError, FieldsInvalid, short
from flask_metronome.errors import InputInvalid

#: Far more than a schedule needs: arguments are for names of things, not things.
LONGEST_BODY = 1_048_576
_DEEPEST = 50
#: Flask before 3.1 has no limit for one request.
_FLASK_BOUNDS = getattr(Request.max_content_length, "fset", None) is not None
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
#: A subclass before its base.
_KINDS: tuple[tuple[type[fields.Field[Any]], str], ...] = (
    (fields.Boolean, "true or false"),
    (fields.Integer, "a whole number"),
    (fields.Float, "a number"),
    (fields.String, "a text"),
    (fields.List, "a list"),
    (fields.Dict, "an object"),
    (fields.Field, "another value"),
)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,100}")


class QueryParser(FlaskParser):
    """webargs, with unknown parameters refused and errors in our shape."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - webargs' own way to set it
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
    }

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Name each field that is wrong.

        :raises FieldsInvalid: always.
        """
        found = _messages(error)
        names = found.get("query", found)
        raise FieldsInvalid([_field_error(name, schema, req) for name in names])


def raw_body() -> bytes:
    """The request's body, as it came.

    :raises RequestEntityTooLarge: it is longer than any that makes sense here.
    """
    if _FLASK_BOUNDS:
        # also a body that does not say how long it is
        request.max_content_length = LONGEST_BODY
    if (request.content_length or 0) > LONGEST_BODY:
        raise RequestEntityTooLarge(f"The body is longer than {LONGEST_BODY} bytes.")
    return request.get_data(cache=True)


def body_object() -> dict[str, Any]:
    """The request's JSON object; an empty body is an empty object.

    :raises RequestEntityTooLarge: see :func:`raw_body`.
    :raises UnsupportedMediaType: when a body comes that is not marked as JSON,
        which is also what a foreign page's form would send.
    :raises InputInvalid: naming ``body``, or the value in it that cannot be kept.
    """
    raw = raw_body()
    if not raw:
        return {}
    if not request.is_json:
        raise UnsupportedMediaType("Send the body as Content-Type: application/json.")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputInvalid(
            "body", "JSON", short(raw.decode(errors="replace"))
        ) from error
    if not isinstance(found, dict):
        raise InputInvalid("body", "a JSON object", found)
    for name, value in found.items():
        _check_storable(name, name)
        _check_storable(name, value)
    return found


def is_storable(text: str) -> bool:
    """Whether a database keeps this text: no NUL, no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def _check_storable(field: str, value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise InputInvalid(field, f"at most {_DEEPEST} levels of nesting", "more")
    if isinstance(value, str) and not is_storable(value):
        raise InputInvalid(
            field, "text without NUL and lone surrogates", ascii(value)[:80]
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputInvalid(field, "numbers that JSON has", value)
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_storable(field, name, depth + 1)
            _check_storable(field, inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_storable(field, inner, depth + 1)


def only(found: Mapping[str, Any], *names: str) -> None:
    """Refuse fields that are not among ``names``.

    :raises InputInvalid: naming the first of them.
    """
    for name in found:
        if name not in names:
            expected = "only " + ", ".join(names) if names else "no fields"
            raise InputInvalid(name, expected, found[name])


def load(schema: type[Schema], found: Mapping[str, Any]) -> dict[str, Any]:
    """Read a body by a schema.

    :raises FieldsInvalid: naming each wrong field.
    """
    reader = schema(unknown=RAISE)
    try:
        return dict(reader.load(found))
    except ValidationError as error:
        raise FieldsInvalid(
            [_described(name, reader, found.get(name)) for name in _messages(error)]
        ) from None


def query_of(schema: type[Schema]) -> dict[str, Any]:
    """Read the query of a form: fields left empty count as not given.

    :raises FieldsInvalid: naming each wrong field.
    """
    given: dict[str, Any] = {}
    reader = schema(unknown=RAISE)
    for name in request.args:
        values = [value for value in request.args.getlist(name) if value]
        if values:
            many = isinstance(reader.fields.get(name), fields.List)
            given[name] = values if many else values[0]
    return load(schema, given)


def idempotency_key() -> str:
    """The ``Idempotency-Key`` of the request, or a new one.

    :raises InputInvalid: naming the header.
    """
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return uuid.uuid4().hex
    if not _IDEMPOTENCY_KEY.fullmatch(given):
        raise InputInvalid(
            "Idempotency-Key", "1 to 100 visible ASCII characters", short(given)
        )
    return given


def expected_revision() -> int | None:
    """The revision in ``If-Match``; ``None`` without one or with ``*``.

    :raises InputInvalid: naming the header.
    """
    given = request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    text = given.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputInvalid("If-Match", 'an ETag such as "3"', short(given))
    return int(text)


def _messages(error: ValidationError) -> dict[str, Any]:
    found = error.messages
    return found if isinstance(found, dict) else {"body": found}


def _field_error(name: str, schema: Schema, asked: Request) -> FieldError:
    values = asked.args.getlist(name)
    return _described(name, schema, ",".join(values) if values else None)


def _kind_of(field: fields.Field[Any]) -> str:
    """What one of marshmallow's own fields takes, in words."""
    return next(words for kind, words in _KINDS if isinstance(field, kind))


def _described(name: str, schema: Schema, got: Any) -> FieldError:
    field = schema.fields.get(name)
    if field is None:
        expected = "only " + ", ".join(sorted(schema.fields))
    else:
        expected = getattr(field, "expected", None) or _kind_of(field)
    message = str(InputInvalid(name, expected, short(got)))
    return FieldError(field=name, expected=expected, got=short(got), message=message)
