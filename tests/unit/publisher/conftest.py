"""A publisher and the scripted peer that it publishes to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from scripted_peer import Broker, Play, Script

from metronome_broker import Publisher


@pytest.fixture
def play() -> Iterator[Play]:
    with contextlib.ExitStack() as stack:

        def start(
            script: Script, *, mute: bool = False, **options: Any
        ) -> tuple[Broker, Publisher]:
            broker = Broker(script, mute=mute)
            stack.callback(broker.close)
            options = {"confirm_timeout": 0.3, "connect_timeout": 2.0, **options}
            publisher = Publisher(broker.url, **options)
            stack.callback(publisher.close)
            return broker, publisher

        yield start
