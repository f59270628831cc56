"""What can go wrong with the broker, each as one sentence without a password."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kombu.utils.url import maybe_sanitize_url

if TYPE_CHECKING:
    from metronome_broker.drift import Difference


class BrokerError(Exception):
    """Base of everything this package raises."""


class InvalidLane(BrokerError, ValueError):
    """A lane, or a task name put on it, that AMQP or our naming cannot carry."""


class InvalidMessage(BrokerError, ValueError):
    """A message that can never be sent, whatever state the broker is in."""


class BrokerUnreachable(BrokerError):
    """No AMQP conversation with the broker: refused, gone, or silent too long.

    Attributes:
        url: the broker's URL with its password replaced by ``**``.
        cause: what happened, an exception or a sentence.
    """

    def __init__(self, url: str, cause: object) -> None:
        self.url = without_password(url)
        self.cause = cause
        super().__init__(f"broker {self.url} cannot be reached: {_words(cause)}")


class BrokerStartFailed(BrokerError):
    """A broker that this machine should be able to start did not start."""


class TopologyDrift(BrokerError):
    """Exchanges or queues exist with other arguments than this topology declares.

    Attributes:
        differences: every difference found, not only the first.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.differences = tuple(differences)
        listed = "; ".join(str(difference) for difference in self.differences)
        super().__init__(
            f"broker topology differs from what is declared: {listed}; queue "
            "arguments cannot be changed in place: lower a limit by a policy, or "
            "drain and delete the queue and apply again"
        )


def without_password(url: str) -> str:
    """The URL, or list of URLs parted by ``;``, with each password as ``**``."""
    return ";".join(str(maybe_sanitize_url(part)) for part in url.split(";"))


def _words(cause: object) -> str:
    text = str(cause).strip()
    if isinstance(cause, BaseException):
        return text or type(cause).__name__
    return text
