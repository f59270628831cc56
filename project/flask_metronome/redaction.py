"""What must not be stored: values under secret-looking keys, and endless text.

Pure. Applied on write, so that page, API, Flower and notifications are
equally clean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from flask_metronome.errors import ScheduleInvalid

MASK = "[redacted]"
#: Longest text of an error message, a traceback and one argument, characters.
MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 16_000
ARGUMENT_LIMIT = 2_000
_DEPTH = 20


def redact(value: Any, patterns: Iterable[str]) -> Any:
    """A copy of ``value`` without the values of secret-looking keys.

    :param value: JSON-like; text inside it is searched for ``key=value``.
    :param patterns: parts of key names, compared without case.
    """
    return _redact(value, _keys(tuple(patterns)), 0)


def key_matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether values under that name are secret."""
    keys = _keys(tuple(patterns))
    return keys is not None and keys.search(name) is not None


def redact_text(text: str, patterns: Iterable[str]) -> str:
    """``text`` without the values in ``key=value``, ``key: value`` and URLs."""
    return _redact_text(text, _keys(tuple(patterns)))


def unmasked(given: Any, stored: Any, shown: Any, field: str) -> Any:
    """``given``, with what is stored wherever it says just what was shown of that.

    So what was read without secrets can be sent back, changed elsewhere, and
    no secret is overwritten by the mark that stood for it.

    :param shown: what :func:`redact` made of ``stored``.
    :param field: what ``given`` is called, for the error.
    :raises ScheduleInvalid: there is a mark where no value is known for it.
    """
    if isinstance(given, Mapping):
        old, seen = _mapping(stored), _mapping(shown)
        return {
            name: unmasked(value, old.get(name), seen.get(name), f"{field}.{name}")
            for name, value in given.items()
        }
    if isinstance(given, (list, tuple)):
        # of another length nobody can say which value a mark stands for
        same = isinstance(shown, (list, tuple)) and len(shown) == len(given)
        pairs = zip(stored, shown, strict=True) if same else [(None, None)] * len(given)
        return [
            unmasked(value, old, seen, f"{field}[{at}]")
            for at, (value, (old, seen)) in enumerate(zip(given, pairs, strict=True))
        ]
    if isinstance(given, str) and given == shown:
        return stored
    if isinstance(given, str) and MASK in given:
        raise ScheduleInvalid(field, f"a value: {MASK} stands for none that is", given)
    return given


def storable(text: str) -> str:
    """``text`` without what no database keeps: NUL, and halves of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def clip(text: str, limit: int) -> str:
    """``text`` of at most about ``limit`` characters, with a mark where cut."""
    text = storable(text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… (cut, {len(text) - limit} more characters)"


def clip_middle(text: str, limit: int) -> str:
    """Like :func:`clip`, keeping both ends: a traceback's last lines matter most."""
    text = storable(text)
    if len(text) <= limit:
        return text
    head = limit // 4
    cut = len(text) - limit
    mark = f"\n… (cut, {cut} more characters)\n"
    return f"{text[:head]}{mark}{text[head + cut :]}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _redact(value: Any, keys: re.Pattern[str] | None, depth: int) -> Any:
    if depth > _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            key: MASK
            if keys is not None and keys.search(str(key))
            else _redact(inner, keys, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact(inner, keys, depth + 1) for inner in value]
    if isinstance(value, str):
        return _redact_text(value, keys)
    return value


def _redact_text(text: str, keys: re.Pattern[str] | None) -> str:
    text = _URL_PASSWORD.sub(rf"\1{MASK}@", text)
    if keys is None:
        return text
    parts, at = [], 0
    for found in _NAME.finditer(text):
        # what stands inside of a value that is masked already is none of a name's
        if found.start() < at or keys.search(found["name"]) is None:
            continue
        value = _VALUE.match(text, found.end())
        if value is not None:
            parts += [text[at : value.start("value")], MASK]
            at = value.end()
    return "".join((*parts, text[at:]))


# Long texts come by here, so none of these may look at a character twice: a name
# is tried where it begins only, and what was taken is not given back (``++``).
_URL_PASSWORD = re.compile(
    r"((?<![a-z0-9+.-])[a-z0-9+.-]++://[^\s:/@]*+:)[^\s@/]++@", re.IGNORECASE
)
_NAME = re.compile(r"""(?<![\w-])(?P<name>[\w-]++)["']?\s*+[:=]\s*+""")
_VALUE = re.compile(
    r"""(?:bearer\s+|basic\s+)?"""
    # what is masked already stays: text may come by twice
    r"""(?!\[redacted\])(?P<value>"[^"\n]*+"|'[^'\n]*+'|[^\s,;&)}\]]++)""",
    re.IGNORECASE,
)


@lru_cache(maxsize=32)
def _keys(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(map(re.escape, patterns)), re.IGNORECASE)
