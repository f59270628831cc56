"""What a topology found on the broker: what is missing and what differs."""

from __future__ import annotations

import re
from dataclasses import dataclass

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for \w+ '.*?' in vhost '.*?': "
    r"received (?P<expected>.+?)(?: but current is (?P<found>.+))?$",
    re.DOTALL,
)
_TYPED_VALUE = re.compile(
    r"(?:the value )?'(?P<value>.*?)'(?: of type '.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One argument of one exchange or queue that is not as declared.

    ``argument``, ``expected`` and ``found`` are empty when the broker did not say.
    """

    kind: str
    name: str
    argument: str
    expected: str
    found: str
    text: str

    def __str__(self) -> str:
        if not self.argument:
            return f"{self.kind} {self.name}: {self.text}"
        return (
            f"{self.kind} {self.name}: {self.argument} expected {self.expected}, "
            f"found {self.found or 'something else'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyReport:
    """The result of a check (nothing changed) or an apply.

    Attributes:
        missing: ``exchange x`` or ``queue x`` that did not exist before.
        differences: what exists with other arguments; empty after an apply.
        applied: whether what was missing has been declared by this call.
    """

    missing: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    applied: bool = False

    @property
    def ok(self) -> bool:
        """Whether the broker now holds the whole topology as declared."""
        return not self.differences and (self.applied or not self.missing)


def read_difference(kind: str, name: str, text: str) -> Difference:
    """A difference from the text of RabbitMQ's 406, as far as it can be read.

    The text is cut at 255 bytes by AMQP, so the found value may be missing.
    """
    match = _INEQUIVALENT.search(text)
    if match is None:
        return Difference(
            kind=kind, name=name, argument="", expected="", found="", text=text
        )
    return Difference(
        kind=kind,
        name=name,
        argument=match["argument"],
        expected=_value(match["expected"]),
        found=_value(match["found"] or ""),
        text=text,
    )


def _value(words: str) -> str:
    match = _TYPED_VALUE.match(words)
    return match["value"] if match else words.strip()
