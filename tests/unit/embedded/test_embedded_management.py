"""The management API of the embedded broker."""

from __future__ import annotations

import http.client
import json
import socket
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from metronome_broker.embedded import EmbeddedBroker, Fault


@pytest.fixture
def call(broker: EmbeddedBroker) -> Any:
    def ask(
        path: str, method: str = "GET", body: object = None, login: str = "guest:guest"
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(
            broker.host, broker.management_port, timeout=10
        )
        try:
            connection.request(
                method,
                f"/api/{path}",
                body=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Basic {b64encode(login.encode()).decode()}"
                },
            )
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    return ask


def test_queues_are_counted(
    call: Any, vhost: str, channel: Any, declare: Any, put: Any
) -> None:
    declare("q", {"x-queue-type": "quorum"})
    for _ in range(3):
        put("q")
    channel.basic_get("q")
    channel.basic_qos(0, 1, False)
    channel.basic_consume("q", callback=lambda _message: None)
    channel.queue_declare("barrier")
    expected = {
        "name": "q",
        "vhost": vhost,
        "type": "quorum",
        "durable": True,
        "auto_delete": False,
        "exclusive": False,
        "arguments": {"x-queue-type": "quorum"},
        "messages": 3,
        "messages_ready": 1,
        "messages_unacknowledged": 2,
        "consumers": 1,
    }
    status, queue = call(f"queues/{vhost}/q")
    assert status == 200
    assert {name: queue[name] for name in expected} == expected
    _, queues = call(f"queues/{vhost}")
    assert queue in queues
    assert queue in call("queues")[1]


def test_bindings_exchanges_and_connections_are_listed(
    call: Any, vhost: str, channel: Any, declare: Any
) -> None:
    declare("q")
    channel.queue_bind("q", "amq.topic", "a.*")
    _, bindings = call(f"bindings/{vhost}")
    assert [(each["source"], each["destination"]) for each in bindings] == [
        ("amq.topic", "q")
    ]
    assert bindings[0]["routing_key"] == "a.*"
    assert call(f"exchanges/{vhost}/amq.topic")[1]["type"] == "topic"
    connections = [each for each in call("connections")[1] if each["vhost"] == vhost]
    assert [(each["user"], each["channels"]) for each in connections] == [("guest", 1)]
    totals = call("overview")[1]["object_totals"]
    assert totals["queues"] >= 1
    assert totals["channels"] >= 1


def test_vhosts_come_and_go(call: Any, connect: Any, vhost: str) -> None:
    path = f"vhosts/{vhost}"
    assert call(path, "PUT")[0] == 201
    assert call(path, "PUT")[0] == 204
    assert call(path) == (200, {"name": vhost})
    channel = connect().channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    assert call(path, "DELETE")[0] == 204
    with pytest.raises(OSError):
        channel.queue_declare("q", passive=True)
    assert call(path)[0] == 404
    assert call(path, "DELETE")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["nothing", "queues/no-such-vhost", f"queues/{quote('/', '')}/no", "", "a/b"],
)
def test_what_is_not_there_is_not_found(call: Any, path: str) -> None:
    assert call(path)[0] == 404


@pytest.mark.parametrize("login", ["guest:wrong", "who:guest", "", ":"])
def test_wrong_credentials_are_refused(call: Any, login: str) -> None:
    assert call("overview", login=login)[0] == 401


def test_an_alarm_is_shown(call: Any, broker: EmbeddedBroker) -> None:
    assert call("health/checks/alarms") == (200, {"status": "ok"})
    broker.inject(Fault(blocked="low on memory"))
    try:
        status, answer = call("health/checks/alarms")
    finally:
        broker.inject(Fault(clear=True))
    assert (status, answer["reason"]) == (503, "low on memory")


def test_faults_are_posted(call: Any) -> None:
    assert call("faults", "POST", {"nack_publishes": 2})[1]["nack_publishes"] == 2
    assert call("faults")[1]["nack_publishes"] == 2
    assert call("faults", "POST", {"clear": True})[1]["nack_publishes"] == 0
    status, answer = call("faults", "POST", {"nothing": 1})
    assert (status, answer["error"]) == (400, "bad_request")
    assert "fault field 'nothing'" in answer["reason"]


@pytest.mark.parametrize("body", ["", "{", "[" * 50_000])
def test_a_body_that_is_no_json_is_refused(broker: EmbeddedBroker, body: str) -> None:
    token = b64encode(b"guest:guest").decode()
    connection = http.client.HTTPConnection(broker.host, broker.management_port)
    connection.request("POST", "/api/faults", body, {"Authorization": f"Basic {token}"})
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /api/overview HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /api/overview HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
        b"POST /api/faults HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
        b"\x00\xff\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
)
def test_malformed_requests_get_a_400(
    broker: EmbeddedBroker, call: Any, request_bytes: bytes
) -> None:
    with socket.create_connection((broker.host, broker.management_port), 10) as raw:
        raw.sendall(request_bytes)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert call("overview")[0] == 200
