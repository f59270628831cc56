"""Reading dead letters: those that are kept, and the news of them.

What dies is copied to two queues. ``metronome.dead`` keeps it for people, who look
at it, publish it again or throw it away. ``metronome.dead.news`` tells programs of
it, once: reading the first again and again would cost more the fuller it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from amqp.exceptions import NotFound

from metronome_broker.dead_letter import DeadLetter, read_dead_letter
from metronome_broker.errors import BrokerError
from metronome_broker.publisher import Publisher
from metronome_broker.topology import Topology
from metronome_broker.wire import Wire, open_wire

DEADLINE_SECONDS = 10.0
#: As many as one look reads at the most.
LIMIT = 1_000
_NAME = "metronome-dead"


class Fate(StrEnum):
    """What becomes of a dead letter that somebody looked at."""

    KEEP = "keep"
    DISCARD = "discard"
    REPUBLISH = "republish"


def list_dead_letters(
    url: str,
    topology: Topology,
    *,
    limit: int = LIMIT,
    deadline: float = DEADLINE_SECONDS,
) -> list[DeadLetter]:
    """The oldest dead letters; they stay where they are, in their order.

    While this looks nobody else sees them.

    Args:
        url: the broker's, AMQP.
        deadline: seconds for all of it.

    Raises:
        BrokerUnreachable: no connection, or not done in time.
        BrokerError: the queue does not exist.
    """
    with open_wire(url, seconds=deadline, name=_NAME) as (wire, left):
        held = _Held(wire, topology, topology.dead_queue, limit, left())
        return held.letters


def settle_dead_letters(
    url: str,
    topology: Topology,
    decide: Callable[[DeadLetter], Fate],
    *,
    limit: int = LIMIT,
    deadline: float = DEADLINE_SECONDS,
) -> list[tuple[DeadLetter, Fate]]:
    """Ask about each of the oldest dead letters, and do what is said.

    One that is published again leaves the queue only after the broker has
    confirmed that its lane has it; else it is kept, and its fate says so. Of two
    with the same task id one is published, the other kept.

    Args:
        decide: called for each while all of them are held.
        deadline: seconds for each conversation with the broker.

    Raises:
        BrokerUnreachable: no connection, or not done in time. What is not settled
            by then stays.
        BrokerError: the queue does not exist, or a letter cannot be published.
    """
    with open_wire(url, seconds=deadline, name=_NAME) as (wire, left):
        held = _Held(wire, topology, topology.dead_queue, limit, left())
        fates = [(letter, decide(letter)) for letter in held.letters]
        again = [letter for letter, fate in fates if fate is Fate.REPUBLISH]
        back = _republish(url, topology, again, deadline)
        settled = [(letter, _settled(letter, fate, back)) for letter, fate in fates]
        gone = [letter for letter, fate in settled if fate is not Fate.KEEP]
        held.acknowledge(gone, deadline)
        return settled


class DeadLetterNews:
    """Tells of each dead letter once, over one connection that is kept.

    Args:
        url: the broker's, AMQP.
        deadline: seconds for each conversation with the broker.
    """

    def __init__(
        self, url: str, topology: Topology, *, deadline: float = DEADLINE_SECONDS
    ) -> None:
        self._url = url
        self._topology = topology
        self._deadline = deadline
        self._wire: Wire | None = None

    def take(
        self, handle: Callable[[Sequence[DeadLetter]], None], *, limit: int = 100
    ) -> int:
        """Hand over the oldest news, and forget them when that returns; how many.

        If ``handle`` raises, the news stay and the error passes through.

        Raises:
            BrokerUnreachable: no connection, or no answer in time.
            TopologyDrift: the queue had to be declared, and could not be.
        """
        try:
            return self._take(handle, limit)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; what is held goes back."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _take(self, handle: Callable[[Sequence[DeadLetter]], None], limit: int) -> int:
        if self._wire is None:
            self._wire = Wire(self._url, name=_NAME)
            self._wire.open(self._deadline)
        queue = self._topology.dead_news_queue
        try:
            held = _Held(self._wire, self._topology, queue, limit, self._deadline)
        except QueueMissing:
            self._topology.apply(self._url)
            return 0
        if held.letters:
            handle(held.letters)
        held.acknowledge(held.letters, self._deadline)
        return len(held.letters)


class QueueMissing(BrokerError):
    """There is no such queue: the topology has not been applied."""


class _Held:
    """Messages of a queue, taken out and not yet acknowledged."""

    def __init__(
        self, wire: Wire, topology: Topology, queue: str, limit: int, seconds: float
    ) -> None:
        self._wire = wire
        self._tags: dict[int, int] = {}
        self.letters: list[DeadLetter] = []
        with wire.guarded(seconds, "reading dead letters"):
            self._channel = wire.connection.channel()
            try:
                self._read(topology, queue, limit)
            except NotFound as error:
                raise QueueMissing(
                    f"queue {queue} does not exist: apply the topology"
                ) from error

    def acknowledge(self, letters: Sequence[DeadLetter], seconds: float) -> None:
        """Remove these from the queue, and hand the others back."""
        with self._wire.guarded(seconds, "settling dead letters"):
            for letter in letters:
                self._channel.basic_ack(self._tags[letter.number])
            self._channel.close()

    def _read(self, topology: Topology, queue: str, limit: int) -> None:
        while len(self.letters) < limit:
            message = self._channel.basic_get(queue)
            if message is None:
                return
            number = len(self.letters) + 1
            self._tags[number] = message.delivery_tag
            self.letters.append(read_dead_letter(message, topology, number=number))


def _settled(letter: DeadLetter, fate: Fate, back: frozenset[int]) -> Fate:
    if fate is Fate.REPUBLISH and letter.number not in back:
        return Fate.KEEP
    return fate


def _republish(
    url: str, topology: Topology, letters: Sequence[DeadLetter], deadline: float
) -> frozenset[int]:
    """Publish each task id once; the numbers of those that the broker has."""
    once = {letter.task_id: letter for letter in reversed(letters)}
    messages = [letter.again(topology) for letter in once.values()]
    publisher = Publisher(url, confirm_timeout=deadline, client_name=_NAME)
    try:
        report = publisher.publish(messages)
    finally:
        publisher.close()
    return frozenset(once[task_id].number for task_id in report.confirmed)
