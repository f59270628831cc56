"""Marshmallow fields that say in words what they expect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from flask_metronome.core.run import iso_utc

_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")


class Instant(fields.Field[datetime]):
    """An instant: UTC, RFC 3339, with ``Z``."""

    expected = "an instant such as 2027-01-31T08:00:00Z"

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
        super().__init__(**kwargs)
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
        super().__init__(**kwargs)
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
    """A text of some length, without the characters that no database takes."""

    def __init__(self, most: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = most
        self.expected = f"a text of 1 to {most} characters"

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= self.most:
            raise ValidationError(self.expected)
        if not value.isprintable():
            raise ValidationError(self.expected)
        return value


class Flag(OneOf):
    """true or false."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("true", "false"), **kwargs)


class AnyOf(fields.List[Any]):
    """A word or several: repeated, or separated by commas."""

    def __init__(self, words: Sequence[str], **kwargs: Any) -> None:
        super().__init__(OneOf(words), **kwargs)
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
