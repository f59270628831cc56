"""Frames and arguments of AMQP 0-9-1, between bytes and Python values."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps, loads

from metronome_broker.embedded.errors import AmqpError

Signature = tuple[int, int]

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
#: Bytes of a frame that are not payload: kind, channel, size, end marker.
FRAME_OVERHEAD = 8
FRAME_MIN = 4096
FRAME_MAX = 131_072
SHORT_STRING_MAX = 255
#: Class and method number come before a method's arguments.
METHOD_OFFSET = 4
BASIC_CLASS = 60
#: Deeper tables are refused when they arrive, so that no later step (comparing,
#: encoding for a consumer, JSON) can run out of stack on them.
TABLE_DEPTH_MAX = 32

HEARTBEAT_FRAME = struct.pack(">BHIB", HEARTBEAT, 0, 0, FRAME_END)

#: All that py-amqp's decoder raises on bytes that are not what they should be.
UNDECODABLE = (
    struct.error,
    ArithmeticError,
    FrameSyntaxError,
    IndexError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class Frame(NamedTuple):
    """One frame as it came: its kind, its channel number and its payload."""

    kind: int
    channel: int
    payload: bytes


class FrameReader:
    """Cuts the bytes of one connection into frames.

    Attributes:
        frame_max: largest frame taken, in bytes, overhead included.
    """

    def __init__(self) -> None:
        self.frame_max = FRAME_MAX
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append what the socket gave."""
        self._buffer += data

    def take_protocol_header(self) -> bool | None:
        """True once the header was read, None if it is incomplete, False if wrong."""
        start = bytes(self._buffer[: len(PROTOCOL_HEADER)])
        if not PROTOCOL_HEADER.startswith(start):
            return False
        if len(start) < len(PROTOCOL_HEADER):
            return None
        del self._buffer[: len(PROTOCOL_HEADER)]
        return True

    def next(self) -> Frame | None:
        """The next whole frame, or None until more bytes came.

        Raises:
            AmqpError: 501, the bytes are no frame or the frame is too large.
        """
        if len(self._buffer) < FRAME_OVERHEAD - 1:
            return None
        kind, channel, size = struct.unpack_from(">BHI", self._buffer)
        self._check(kind, size)
        if len(self._buffer) < size + FRAME_OVERHEAD:
            return None
        end = self._buffer[size + FRAME_OVERHEAD - 1]
        if end != FRAME_END:
            raise AmqpError(501, f"type {kind}: {{invalid_frame_end_marker,{end}}}")
        payload = bytes(self._buffer[7 : 7 + size])
        del self._buffer[: size + FRAME_OVERHEAD]
        return Frame(kind, channel, payload)

    def _check(self, kind: int, size: int) -> None:
        if kind not in (METHOD, HEADER, BODY, HEARTBEAT):
            raise AmqpError(501, f"type {kind}: unknown_frame")
        limit = self.frame_max - FRAME_OVERHEAD
        if size > limit:
            raise AmqpError(501, f"type {kind}: {{frame_too_large,{size},{limit}}}")


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame as bytes."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method_frame(
    channel: int, signature: Signature, layout: str, values: Sequence[object]
) -> bytes:
    """A method frame; ``layout`` is py-amqp's letter for each value."""
    arguments = dumps(layout, values) if layout else b""
    return frame(METHOD, channel, struct.pack(">HH", *signature) + arguments)


def content_frames(
    channel: int, properties: bytes, body: bytes, frame_max: int
) -> Iterator[bytes]:
    """The header frame and as many body frames as ``frame_max`` asks for."""
    header = struct.pack(">HHQ", BASIC_CLASS, 0, len(body)) + properties
    yield frame(HEADER, channel, header)
    chunk = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), chunk):
        yield frame(BODY, channel, body[start : start + chunk])


def signature_of(payload: bytes) -> Signature:
    """Class and method of a method frame; class 0 when it is too short to say."""
    if len(payload) < METHOD_OFFSET:
        return (0, 0)
    return struct.unpack_from(">HH", payload)


def decode(layout: str, payload: bytes, offset: int = 0) -> list[Any]:
    """The values of a payload, which they must fill exactly.

    Raises:
        AmqpError: 502, the payload does not hold what ``layout`` says.
    """
    try:
        values, end = loads(layout, payload, offset)
    except UNDECODABLE:
        raise AmqpError(502, "cannot decode arguments") from None
    if end != len(payload):
        raise AmqpError(502, f"arguments end at byte {end} of {len(payload)}")
    for value in values:
        check_depth(value)
    return values


def check_depth(value: object) -> None:
    """Refuse tables and arrays nested deeper than ``TABLE_DEPTH_MAX``."""
    layer = [value]
    for _ in range(TABLE_DEPTH_MAX):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return
    raise AmqpError(502, f"table nested deeper than {TABLE_DEPTH_MAX}")


def _inside(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def short(text: str) -> str:
    """The text cut to what an AMQP short string can carry."""
    data = text.encode("utf-8", "replace")
    return data[:SHORT_STRING_MAX].decode("utf-8", "ignore")
