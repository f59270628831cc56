"""Starting, stopping, logging in to and talking low level to the embedded broker."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import amqp
import pytest
from amqp.exceptions import AccessRefused

from metronome_broker.embedded import EmbeddedBroker, EmbeddedBrokerError, NotLoopback
from metronome_broker.embedded.server import is_loopback
from metronome_broker.errors import BrokerError


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.example.org"]
)
def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(NotLoopback) as refused:
        EmbeddedBroker(host)
    assert repr(host) in str(refused.value)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, BrokerError)


def test_loopback_has_several_names() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1"))
    assert EmbeddedBroker("localhost").host == "127.0.0.1"


def test_user_and_password_are_checked() -> None:
    with EmbeddedBroker(user="me", password="p@ss/é") as broker:
        assert broker.url.startswith("amqp://me:p%40ss%2F%C3%A9@127.0.0.1:")
        address = f"{broker.host}:{broker.port}"
        for user, password in (("me", "wrong"), ("guest", "p@ss/é"), ("", "")):
            connection = amqp.Connection(address, userid=user, password=password)
            with pytest.raises(AccessRefused, match="Login was refused"):
                connection.connect()
            connection.collect()
        for method in ("PLAIN", "AMQPLAIN"):
            connection = amqp.Connection(
                address, userid="me", password="p@ss/é", login_method=method
            )
            connection.connect()
            connection.close()


def test_vhosts_do_not_see_each_other(connect: Any, vhost: str) -> None:
    connect().channel().queue_declare("q", auto_delete=False)
    other = connect(virtual_host=f"{vhost}-other").channel()
    assert other.queue_declare("q", auto_delete=False).message_count == 0
    other.basic_publish(amqp.Message("x"), routing_key="q")
    assert connect().channel().queue_declare("q", passive=True).message_count == 0


def test_stop_cuts_connections_and_frees_the_port() -> None:
    broker = EmbeddedBroker().start()
    before = threading.active_count()
    connection = amqp.Connection(f"{broker.host}:{broker.port}")
    connection.connect()
    with pytest.raises(EmbeddedBrokerError, match="runs already"):
        broker.start()
    broker.stop()
    broker.stop()
    with pytest.raises(OSError):
        connection.channel()
    connection.collect()
    assert threading.active_count() < before
    port = broker.port
    with broker:
        assert broker.port == port
        again = amqp.Connection(f"{broker.host}:{port}")
        again.connect()
        again.close()


def test_a_port_in_use_is_an_error_that_names_it(broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker(port=broker.port)
    with pytest.raises(EmbeddedBrokerError, match=r"cannot listen on 127\.0\.0\.1"):
        second.start()


def test_silent_clients_are_dropped_and_heartbeats_sent(broker: EmbeddedBroker) -> None:
    connection = amqp.Connection(f"{broker.host}:{broker.port}", heartbeat=1)
    connection.connect()
    assert connection.heartbeat == 1
    raw = connection.transport.sock
    raw.settimeout(10)
    # We say nothing from here on: first its heartbeats, then the end.
    heard = b""
    while True:
        more = raw.recv(100)
        if not more:
            break
        heard += more
    assert heard == b"\x08\x00\x00\x00\x00\x00\x00\xce" * (len(heard) // 8)
    assert len(heard) >= 16
    connection.collect()


def test_a_living_client_is_kept(broker: EmbeddedBroker) -> None:
    connection = amqp.Connection(f"{broker.host}:{broker.port}", heartbeat=1)
    connection.connect()
    channel = connection.channel()
    channel.queue_declare(
        "clock",
        arguments={
            "x-message-ttl": 500,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "bell",
        },
    )
    channel.queue_declare("bell")
    rung: list[Any] = []
    channel.basic_consume("bell", callback=rung.append, no_ack=True)
    for n in range(5):
        connection.send_heartbeat()
        channel.basic_publish(amqp.Message("x"), routing_key="clock")
        while len(rung) <= n:
            connection.drain_events(timeout=10)
    connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_one_line_and_ends_on_a_signal(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "metronome_broker.embedded", "--user", "me"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "METRONOME_EMBEDDED_PASSWORD": "secret"},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"amqp://(127\.0\.0\.1:\d+) ", line)
        assert found
        assert "development, demo and scripted-fault tests only" in line
        connection = amqp.Connection(found[1], userid="me", password="secret")
        connection.connect()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")
        connection.collect()


def test_the_process_exits_when_it_is_idle() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metronome_broker.embedded", "--idle-exit", "0.1"],
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_process_refuses_other_hosts(broker: EmbeddedBroker) -> None:
    for options in (["--host", "0.0.0.0"], ["--port", str(broker.port)]):
        done = subprocess.run(
            [sys.executable, "-m", "metronome_broker.embedded", *options],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


def test_a_client_that_never_speaks_holds_nothing_up(broker: EmbeddedBroker) -> None:
    with socket.create_connection((broker.host, broker.port)):
        connection = amqp.Connection(f"{broker.host}:{broker.port}")
        connection.connect()
        connection.close()
