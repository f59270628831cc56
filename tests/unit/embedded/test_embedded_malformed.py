"""What the embedded broker does with bytes that are not what they should be."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from amqp import spec
from amqp.serialization import dumps, loads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metronome_broker.embedded import EmbeddedBroker

HELLO = b"AMQP\x00\x00\x09\x01"
START_OK = ({"capabilities": {}}, "PLAIN", "\0guest\0guest", "en_US")
DECLARE = (0, "q", False, False, False, False, False, {})


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, signature: Any, layout: str = "", values: Any = ()) -> bytes:
    return frame(1, channel, struct.pack(">HH", *signature) + dumps(layout, values))


PUBLISH = method(1, spec.Basic.Publish, "Bssbb", (0, "", "q", False, False))


def header(size: int, flags: int = 0, class_id: int = 60) -> bytes:
    return frame(2, 1, struct.pack(">HHQH", class_id, 0, size, flags))


class RawClient:
    """A socket that says what it is told to."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.socket = socket.create_connection((broker.host, broker.port), timeout=10)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, Any, bytes] | None:
        """Channel, method signature and arguments; None at the end."""
        try:
            head = self._read(7)
            kind, channel, size = struct.unpack(">BHI", head)
            payload = self._read(size + 1)[:-1]
        except (EOFError, ConnectionResetError):
            return None
        assert kind == 1
        return channel, struct.unpack_from(">HH", payload), payload[4:]

    def closed_with(self) -> int | None:
        """The code of connection.close; None when the socket just ends."""
        while (received := self.receive()) is not None:
            if received[1] == spec.Connection.Close:
                self.send(method(0, spec.Connection.CloseOk))
                code: int = loads("BsBB", received[2], 0)[0][0]
                assert self.receive() is None
                return code
        return None

    def open(self, *, channel: bool = True) -> None:
        self.send(HELLO + method(0, spec.Connection.StartOk, "FsSs", START_OK))
        self.send(method(0, spec.Connection.TuneOk, "BlB", (100, 131_072, 0)))
        self.send(method(0, spec.Connection.Open, "ssb", ("fuzz", "", False)))
        if channel:
            self.send(method(1, spec.Channel.Open, "s", ("",)))
        for _ in range(4 if channel else 3):
            assert self.receive() is not None

    def close(self) -> None:
        self.socket.close()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data


@pytest.fixture
def raw(broker: EmbeddedBroker) -> Iterator[RawClient]:
    client = RawClient(broker)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def survives(connect: Any, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Afterwards a healthy client is served and nothing unforeseen was logged."""
    with caplog.at_level(logging.ERROR):
        yield
        assert connect().channel().queue_declare().queue
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"AMQP\x00\x00\x08\x00", b"AMQP\x01", b"\x00"]
)
def test_another_protocol_is_told_ours(raw: RawClient, data: bytes) -> None:
    raw.send(data)
    assert raw.socket.recv(100) == HELLO
    assert raw.socket.recv(100) == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x0a\xcf", 501),
        (struct.pack(">BHI", 1, 1, 200_000), 501),
        (frame(9, 1, b"abc"), 501),
        (frame(8, 0, b"x"), 501),
        (frame(8, 1, b""), 505),
        (frame(1, 1, b""), 503),
        (method(1, (99, 10)), 503),
        (method(1, (60, 99)), 503),
        (method(1, spec.Connection.Open, "ssb", ("/", "", False)), 503),
        (method(0, spec.Channel.Open, "s", ("",)), 503),
        (method(0, spec.Connection.StartOk, "FsSs", START_OK), 503),
        (method(1, spec.Channel.CloseOk), 503),
        (frame(1, 1, b"\x00\x32\x00\x0a\x00"), 502),
        (method(1, spec.Queue.Declare, "BsbbbbbFo", (*DECLARE, 1)), 502),
        (method(1, spec.Channel.Open, "s", ("",)), 504),
        (method(101, spec.Channel.Open, "s", ("",)), 504),
        (method(7, spec.Queue.Declare, "BsbbbbbF", DECLARE), 504),
        (header(1), 505),
        (frame(3, 1, b"x"), 505),
        (frame(3, 0, b"x"), 505),
        (PUBLISH + method(1, spec.Queue.Declare, "BsbbbbbF", DECLARE), 505),
        (PUBLISH + frame(3, 1, b"x"), 505),
        (PUBLISH + header(1) + header(1), 505),
        (PUBLISH + header(1, class_id=61), 505),
        (PUBLISH + frame(2, 1, b"\x00\x3c"), 502),
        (PUBLISH + header(0, flags=0xFFFF), 502),
        (PUBLISH + header(0, flags=0x0001), 502),
        (PUBLISH + header(1) + frame(3, 1, b"xyz"), 501),
        (method(1, spec.Tx.Select), 540),
    ],
)
def test_wrong_frames_close_the_connection(
    raw: RawClient, data: bytes, code: int
) -> None:
    raw.open()
    raw.send(data)
    assert raw.closed_with() == code


def test_too_deep_tables_are_refused(raw: RawClient) -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    raw.open()
    raw.send(method(1, spec.Queue.Declare, "BsbbbbbF", (*DECLARE[:-1], deep)))
    assert raw.closed_with() == 502


def test_tables_as_deep_as_a_frame_allows_are_refused(raw: RawClient) -> None:
    levels = 12_000
    table = b""
    for _ in range(levels):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    arguments = dumps("Bsbbbbb", DECLARE[:-1])
    raw.open()
    body = struct.pack(">HH", *spec.Queue.Declare) + arguments
    raw.send(frame(1, 1, body + struct.pack(">I", len(table)) + table))
    assert raw.closed_with() == 502


@pytest.mark.parametrize(
    ("mechanism", "response", "code"),
    [
        ("PLAIN", "\0guest\0wrong", None),
        ("PLAIN", "guest", 501),
        ("AMQPLAIN", "\xff\xff", 502),
        ("GSSAPI", "", 504),
    ],
)
def test_wrong_logins_get_no_further(
    raw: RawClient, mechanism: str, response: str, code: int | None
) -> None:
    raw.send(HELLO)
    values = ({}, mechanism, response, "en_US")
    raw.send(method(0, spec.Connection.StartOk, "FsSs", values))
    assert raw.closed_with() == code


@pytest.mark.parametrize("tune", [(0, 100, 0), (0, 1 << 20, 0), (65_000, 0, 0)])
def test_tuning_beyond_our_limits_is_refused(
    raw: RawClient, tune: tuple[int, int, int]
) -> None:
    raw.send(HELLO + method(0, spec.Connection.StartOk, "FsSs", START_OK))
    raw.send(method(0, spec.Connection.TuneOk, "BlB", tune))
    assert raw.closed_with() == 530


def test_frames_larger_than_negotiated_are_refused(raw: RawClient) -> None:
    raw.send(HELLO + method(0, spec.Connection.StartOk, "FsSs", START_OK))
    raw.send(method(0, spec.Connection.TuneOk, "BlB", (0, 4096, 0)))
    raw.send(method(0, spec.Connection.Open, "ssb", ("fuzz", "", False)))
    raw.send(struct.pack(">BHI", 1, 1, 4089))
    assert raw.closed_with() == 501


def test_a_truncated_frame_ends_with_its_client(raw: RawClient) -> None:
    raw.open()
    raw.send(PUBLISH + header(100) + frame(3, 1, b"x" * 50)[:-10])


def test_names_longer_than_a_reply_text_are_cut(raw: RawClient) -> None:
    raw.open()
    name = "é" * 127
    raw.send(method(1, spec.Queue.Declare, "BsbbbbbF", (0, name, True, *DECLARE[3:])))
    received = raw.receive()
    assert received is not None
    assert received[1] == spec.Channel.Close
    code, text, *_ = loads("BsBB", received[2], 0)[0]
    assert code == 404
    assert len(text.encode()) <= 255


CONVERSATION = b"".join(
    [
        HELLO,
        method(0, spec.Connection.StartOk, "FsSs", START_OK),
        method(0, spec.Connection.TuneOk, "BlB", (100, 131_072, 0)),
        method(0, spec.Connection.Open, "ssb", ("fuzz", "", False)),
        method(1, spec.Channel.Open, "s", ("",)),
        method(1, spec.Confirm.Select, "b", (False,)),
        method(
            1, spec.Exchange.Declare, "BssbbbbbF", (0, "x", "topic", *[False] * 5, {})
        ),
        method(
            1,
            spec.Queue.Declare,
            "BsbbbbbF",
            (*DECLARE[:-1], {"x-max-length": 3, "x-dead-letter-exchange": "x"}),
        ),
        method(1, spec.Queue.Bind, "BsssbF", (0, "q", "x", "a.*", False, {"n": [1]})),
        method(1, spec.Basic.Qos, "lBb", (0, 2, False)),
        method(1, spec.Basic.Consume, "BssbbbbF", (0, "q", "t", *[False] * 4, {})),
        PUBLISH + header(3) + frame(3, 1, b"xyz"),
        PUBLISH
        + frame(
            2, 1, struct.pack(">HHQH", 60, 0, 0, 0x2100) + dumps("Fs", ({"a": 1}, "9"))
        ),
        method(1, spec.Basic.Nack, "Lbb", (1, False, True)),
        method(1, spec.Basic.Get, "Bsb", (0, "q", False)),
        method(1, spec.Basic.Reject, "Lb", (2, False)),
        method(1, spec.Basic.Cancel, "sb", ("t", False)),
        frame(8, 0, b""),
        method(1, spec.Channel.Close, "BsBB", (0, "", 0, 0)),
        method(0, spec.Connection.Close, "BsBB", (0, "", 0, 0)),
    ]
)
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(CONVERSATION) - 1),
        st.integers(0, 3),
        st.binary(max_size=6),
    ),
    min_size=1,
    max_size=4,
)
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def talk(broker: EmbeddedBroker, data: bytes) -> None:
    """Say it all, then hang up; whatever the broker answers is read."""
    client = RawClient(broker)
    try:
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(65_536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    finally:
        client.close()


@FUZZ
@given(st.binary(max_size=400))
def test_random_bytes(broker: EmbeddedBroker, data: bytes) -> None:
    talk(broker, HELLO + data)


@FUZZ
@given(MUTATIONS)
def test_mutated_conversations(
    broker: EmbeddedBroker, mutations: list[tuple[int, int, bytes]]
) -> None:
    data = bytearray(CONVERSATION)
    for place, removed, inserted in mutations:
        data[place : place + removed] = inserted
    talk(broker, bytes(data))


@FUZZ
@given(
    st.sampled_from(
        sorted(
            {
                s
                for c in (
                    spec.Connection,
                    spec.Channel,
                    spec.Exchange,
                    spec.Queue,
                    spec.Basic,
                    spec.Confirm,
                    spec.Tx,
                )
                for s in vars(c).values()
                if isinstance(s, tuple)
            }
        )
    ),
    st.integers(0, 2),
    st.binary(max_size=60),
)
def test_any_method_with_any_arguments(
    broker: EmbeddedBroker, signature: Any, channel: int, arguments: bytes
) -> None:
    start = CONVERSATION[: CONVERSATION.index(PUBLISH)]
    talk(broker, start + frame(1, channel, struct.pack(">HH", *signature) + arguments))
