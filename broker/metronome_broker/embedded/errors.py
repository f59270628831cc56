"""What the embedded broker refuses, to whoever starts it and to AMQP clients."""

from __future__ import annotations

from metronome_broker.errors import BrokerError

#: Reply codes of AMQP 0-9-1 and the words that its reply texts start with.
REPLY_WORDS = {
    320: "CONNECTION_FORCED",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
#: Below this (320 apart) an error ends the channel, from here on the connection.
FIRST_CONNECTION_CODE = 500


class EmbeddedBrokerError(BrokerError):
    """Base of everything the embedded broker raises."""


class NotLoopback(EmbeddedBrokerError, ValueError):
    """The embedded broker was asked to listen where other machines can reach it."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"host must be a loopback address such as 127.0.0.1 or ::1, not {host!r}: "
            "the embedded broker is for development, demo and scripted-fault tests"
        )


class InvalidFault(EmbeddedBrokerError, ValueError):
    """A scripted fault has a field that does not exist or a value out of range."""


class AmqpError(EmbeddedBrokerError):
    """What a client did wrong, as AMQP 0-9-1 words it.

    Attributes:
        code: reply code; 5xx closes the connection, 4xx only the channel.
        text: reply text, the code's words first.
    """

    def __init__(self, code: int, detail: str) -> None:
        self.code = code
        self.text = f"{REPLY_WORDS[code]} - {detail}"
        super().__init__(self.text)

    @property
    def closes_connection(self) -> bool:
        """True when the whole connection has to go, not only the channel."""
        return self.code >= FIRST_CONNECTION_CODE or self.code not in REPLY_WORDS
