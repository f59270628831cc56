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
#: Longest text of an exception's arguments, and of what a worker logs of tasks.
LOGGED_LIMIT = 64_000
_DEPTH = 20
#: Characters beside an excerpt that are looked at, too.
_MARGIN = 8_000


def redact(
    value: Any, patterns: Iterable[str], *, text_limit: int | None = None
) -> Any:
    """A copy of ``value`` without the values of secret-looking keys.

    :param value: JSON-like; text inside it is searched for ``key=value``.
    :param patterns: parts of key names, compared without case.
    :param text_limit: texts inside it are clipped to so many characters.
    """
    if text_limit is not None:
        value = _clipped(value, text_limit, 0)
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


def excerpt(
    text: str, patterns: Iterable[str], limit: int, *, both_ends: bool = False
) -> str:
    """What may be shown of a text: no secrets, clipped; at a cost that is bounded.

    :param both_ends: keep both ends, as :func:`clip_middle` does.
    """
    patterns = tuple(patterns)
    if len(text) <= limit + _MARGIN:
        shown = redact_text(text, patterns)
        return clip_middle(shown, limit) if both_ends else clip(shown, limit)
    head, tail = (limit // 4, limit - limit // 4) if both_ends else (limit, 0)
    # the margins hold what a secret on the edge begins or ends with
    first = redact_text(text[: head + _MARGIN], patterns)
    first = first[:head] if len(first) > head else first.rpartition(" ")[0]
    last = redact_text(_from_a_break(text[-tail - _MARGIN :]), patterns)[-tail:]
    last = last if tail else ""
    cut = len(text) - len(first) - len(last)
    mark = f"… (cut, {cut} more characters)"
    return storable(f"{first}\n{mark}\n{last}" if both_ends else first + mark)


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


def _clipped(value: Any, limit: int, depth: int) -> Any:
    if isinstance(value, str):
        # as it is unless it is too long: this is not for a database's text
        return value if len(value) <= limit + _MARGIN else excerpt(value, (), limit)
    if depth > _DEPTH:
        return value
    if isinstance(value, Mapping):
        return {k: _clipped(inner, limit, depth + 1) for k, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clipped(inner, limit, depth + 1) for inner in value]
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
        begin, end = _value(text, found.end(), is_data=bool(found["quote"]))
        if begin < end:
            parts += [text[at:begin], MASK]
            at = end
    return "".join((*parts, text[at:]))


def _from_a_break(text: str) -> str:
    """What follows the first line, or word, that begins within the margin."""
    for space in ("\n", " "):
        at = text.find(space, 0, _MARGIN)
        if at >= 0:
            return text[at + 1 :]
    return text[_MARGIN:]


def _value(text: str, at: int, *, is_data: bool) -> tuple[int, int]:
    """Where the value that begins at ``at`` begins and ends.

    :param is_data: it is under a quoted name, as in JSON: only then it may go on
        in another line, for a traceback's lines of source may look alike.
    """
    scheme = _SCHEME.match(text, at)
    at = scheme.end() if scheme else at
    if text.startswith((MASK, f"'{MASK}'", f'"{MASK}"'), at):
        return at, at  # text may come by twice
    opening = _OPENING.match(text, at)
    if opening is not None:
        return at, _closing(text, opening.end(), is_data=is_data)
    for kind in (_QUOTED, _OPEN_QUOTE, _WORD):
        found = kind.match(text, at)
        if found is not None:
            return at, found.end()
    return at, at


def _closing(text: str, at: int, *, is_data: bool) -> int:
    """Where what was opened before ``at`` is closed; else where it is cut off."""
    depth = 1
    for found in _TOKEN.finditer(text, at):
        token = found[0]
        if token == "\n":
            if is_data:
                continue
            return found.start()
        depth += (token in "[{(") - (token in ")}]")
        if depth == 0:
            return found.end()
        if token in ("'", '"'):
            line = text.find("\n", found.end())
            return line if line >= 0 else len(text)
    return len(text)


# Long texts come by here, so none of these may look at a character twice: a name
# is tried where it begins only, and what was taken is not given back (``++``).
_URL_PASSWORD = re.compile(
    r"((?<![a-z0-9+.-])[a-z0-9+.-]++://[^\s:/@]*+:)[^\s@/]++@", re.IGNORECASE
)
_NAME = re.compile(r"""(?<![\w-])(?P<name>[\w-]++)(?P<quote>\\*["'])?\s*+[:=]\s*+""")
_SCHEME = re.compile(r"(?:bearer|basic|digest|token|apikey)\s++(?=\S)", re.IGNORECASE)
#: However often it was quoted again, so that its escapes are doubled.
_CLOSED = r"""(?:"(?:[^"\\\n]|\\++.)*+"|'(?:[^'\\\n]|\\++.)*+')"""
_QUOTED = re.compile(rf"""[bru]{{0,2}}{_CLOSED}|\\+"[^"\n]*+"|\\+'[^'\n]*+'""", re.I)
#: Cut off: what follows on its line belongs to it.
_OPEN_QUOTE = re.compile(r"""[bru]{0,2}\\*["'][^\n]*+""", re.I)
_WORD = re.compile(r"[^\s,;&)}\]]++")
_OPENING = re.compile(r"[\w.]*+[\[{(]")
_TOKEN = re.compile(rf"""{_CLOSED}|["'\n\[{{()}}\]]""")


@lru_cache(maxsize=32)
def _keys(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(map(re.escape, patterns)), re.IGNORECASE)
