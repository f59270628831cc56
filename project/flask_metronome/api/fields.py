"""Marshmallow fields that say what they expect: in words, and as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from flask_metronome.core.run import iso_utc

#: C0, C1, line separators, halves of surrogate pairs; the second: but for line ends.
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROLS_IN_LINES = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")


def _shaped(options: dict[str, Any], **shape: Any) -> dict[str, Any]:
    """A field's options, with its shape as JSON Schema among its metadata."""
    return {**options, "metadata": {**shape, **options.get("metadata", {})}}


class Instant(fields.Field[datetime]):
    """An instant: UTC, RFC 3339, with ``Z``."""

    expected = "an instant such as 2027-01-31T08:00:00Z"

    def __init__(self, **kwargs: Any) -> None:
        example = "2027-01-31T08:00:00.000000Z"
        super().__init__(
            **_shaped(kwargs, type="string", format="date-time", example=example)
        )

    def _serialize(
        self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any
    ) -> str | None:
        return None if value is None else iso_utc(value)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> datetime:
        try:
            # in a query a + that was not escaped arrives as a space
            moment = datetime.fromisoformat(value.replace(" ", "+"))
        except (AttributeError, TypeError, ValueError):
            raise ValidationError(self.expected) from None
        if moment.tzinfo is None:
            raise ValidationError(self.expected)
        try:
            iso_utc(moment)
        except OverflowError:
            raise ValidationError(self.expected) from None
        return moment


class FormInstant(Instant):
    """An instant from ``<input type=datetime-local>``, which is UTC there."""

    expected = "an instant such as 2027-01-31T08:00, UTC"

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> datetime:
        if _LOCAL.fullmatch(str(value)):
            value = f"{value}Z"
        return super()._deserialize(value, attr, data, **kwargs)


class Whole(fields.Field[int]):
    """A whole number between two bounds."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(**_shaped(kwargs, type="integer", minimum=least, maximum=most))
        self.least, self.most = least, most
        self.expected = f"a whole number from {least} to {most}"

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> int:
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
            raise ValidationError(self.expected)
        if len(text) > 18 or not self.least <= int(text) <= self.most:
            raise ValidationError(self.expected)
        return int(text)


class OneOf(fields.Field[str]):
    """One of a few words."""

    def __init__(self, words: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**_shaped(kwargs, type="string", enum=list(words)))
        self.words = tuple(words)
        self.expected = "one of " + ", ".join(self.words)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> str:
        if value not in self.words:
            raise ValidationError(self.expected)
        return str(value)


class Text(fields.Field[str]):
    """A text of some length, in any script, without control characters.

    :param lines: whether it may have more than one line.
    """

    def __init__(self, most: int = 255, *, lines: bool = False, **kwargs: Any) -> None:
        super().__init__(**_shaped(kwargs, type="string", minLength=1, maxLength=most))
        self.most = most
        self.refused = _CONTROLS_IN_LINES if lines else _CONTROLS
        self.expected = f"a text of 1 to {most} characters, no control characters"

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= self.most:
            raise ValidationError(self.expected)
        if self.refused.search(value):
            raise ValidationError(self.expected)
        return value


class Flag(OneOf):
    """true or false."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("true", "false"), **kwargs)


class AnyOf(fields.List[Any]):
    """A word or several: repeated, or separated by commas."""

    def __init__(self, words: Sequence[str], **kwargs: Any) -> None:
        said = "One or more: repeated, or separated by commas."
        super().__init__(OneOf(words), **_shaped(kwargs, description=said))
        self.expected = "one or more of " + ", ".join(words)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> list[Any]:
        words = [word.strip() for part in value for word in str(part).split(",")]
        try:
            return list(super()._deserialize(words, attr, data, **kwargs))
        except ValidationError:
            raise ValidationError(self.expected) from None
