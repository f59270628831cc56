"""Exchanges and their bindings: which keys go where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from metronome_broker.embedded.arguments import check_same_arguments
from metronome_broker.embedded.errors import AmqpError

ExchangeType = Literal["direct", "topic", "fanout"]
Kind = Literal["queue", "exchange"]

EXCHANGE_TYPES: tuple[ExchangeType, ...] = get_args(ExchangeType)
#: Routing keys whose result is remembered per exchange.
REMEMBERED_KEYS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One way out of an exchange, to a queue or to another exchange.

    Attributes:
        arguments_key: the arguments as bytes; two bindings that differ only in
            their arguments are two.
    """

    source: str
    kind: Kind
    destination: str
    routing_key: str
    arguments_key: bytes = b""
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(slots=True, kw_only=True, eq=False)
class Exchange:
    """A named exchange of one vhost.

    Attributes:
        arguments: as declared; only ``alternate-exchange`` has a meaning.
        internal: True when clients may not publish to it.
    """

    name: str
    vhost: str
    type: ExchangeType
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    _bindings: dict[Binding, None] = field(default_factory=dict)
    _remembered: dict[str, tuple[Binding, ...]] = field(default_factory=dict)

    @property
    def alternate(self) -> str | None:
        """The exchange that gets what no binding matches."""
        return self.arguments.get("alternate-exchange")

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Every binding with this exchange as its source, oldest first."""
        return tuple(self._bindings)

    def add(self, binding: Binding) -> None:
        """Bind; the same binding twice is one."""
        self._bindings[binding] = None
        self._remembered.clear()

    def remove(self, bindings: Iterable[Binding]) -> bool:
        """Unbind; True when that took the last one."""
        before = len(self._bindings)
        for binding in bindings:
            self._bindings.pop(binding, None)
        self._remembered.clear()
        return before > 0 and not self._bindings

    def bindings_to(self, kind: Kind, destination: str) -> list[Binding]:
        """The bindings that end at one queue or exchange."""
        return [
            binding
            for binding in self._bindings
            if (binding.kind, binding.destination) == (kind, destination)
        ]

    def match(self, routing_key: str) -> tuple[Binding, ...]:
        """The bindings that a routing key takes."""
        found = self._remembered.get(routing_key)
        if found is None:
            found = tuple(self._matching(routing_key))
            if len(self._remembered) >= REMEMBERED_KEYS:
                self._remembered.clear()
            self._remembered[routing_key] = found
        return found

    def check_equivalent(self, other: Exchange) -> None:
        """Raise 406 when ``other``, as received, is not what this exchange is."""
        where = f"exchange '{self.name}' in vhost '{self.vhost}'"
        for name in ("type", "durable", "auto_delete", "internal"):
            received, current = getattr(other, name), getattr(self, name)
            if received != current:
                raise AmqpError(
                    406,
                    f"inequivalent arg '{name}' for {where}: received "
                    f"'{_lower(received)}' but current is '{_lower(current)}'",
                )
        check_same_arguments(
            other.arguments, self.arguments, ("alternate-exchange",), where
        )

    def _matching(self, routing_key: str) -> list[Binding]:
        if self.type == "fanout":
            return list(self._bindings)
        if self.type == "direct":
            return [each for each in self._bindings if each.routing_key == routing_key]
        words = _words(routing_key)
        return [
            each
            for each in self._bindings
            if topic_matches(_words(each.routing_key), words)
        ]


def topic_matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Whether a topic pattern takes a key, both as words.

    ``*`` is one word, ``#`` any number, none included. Every reachable place in the
    pattern is followed at once, so no pattern costs more than its length for a word.
    """
    places = _with_skipped(pattern, {0})
    for word in words:
        reached = {
            place if pattern[place] == "#" else place + 1
            for place in places
            if place < len(pattern) and pattern[place] in ("#", "*", word)
        }
        places = _with_skipped(pattern, reached)
        if not places:
            return False
    return len(pattern) in places


def _with_skipped(pattern: tuple[str, ...], places: set[int]) -> set[int]:
    reached = set(places)
    for place in places:
        after = place
        while after < len(pattern) and pattern[after] == "#":
            after += 1
            reached.add(after)
    return reached


def _words(key: str) -> tuple[str, ...]:
    return tuple(key.split(".")) if key else ()


def _lower(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
