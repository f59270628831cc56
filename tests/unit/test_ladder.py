"""Picking a broker, with a ``docker`` and a ``rabbitmq-server`` that only pretend.

Behind both stands a real process that speaks just enough AMQP and HTTP to let a
client in, so starting, joining and ending are real.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metronome_broker import (
    BrokerError,
    BrokerStartFailed,
    RunningBroker,
    join_broker,
    pick_broker,
    private_node,
)
from metronome_broker.process_group import end_group
from metronome_broker.readiness import wait_until_ready, why_unreachable
from metronome_broker.running import BrokerNote, write_note

SERVER = """
import http.server, socketserver, struct, sys, threading
from amqp import spec
from amqp.serialization import dumps

class Amqp(socketserver.BaseRequestHandler):
    def send(self, signature, form="", *values):
        arguments = dumps(form, values) if form else b""
        payload = struct.pack(">HH", *signature) + arguments
        head = struct.pack(">BHI", 1, 0, len(payload))
        self.request.sendall(head + payload + b"\\xce")

    def handle(self):
        file = self.request.makefile("rb")
        file.read(8)
        self.send(spec.Connection.Start, "ooFSS", 0, 9, {}, "PLAIN", "en_US")
        while len(head := file.read(7)) == 7:
            payload = file.read(struct.unpack(">BHI", head)[2] + 1)
            signature = struct.unpack(">HH", payload[:4])
            if signature == spec.Connection.StartOk:
                self.send(spec.Connection.Tune, "BlB", 10, 131072, 0)
            elif signature == spec.Connection.Open:
                self.send(spec.Connection.OpenOk, "s", "")
            elif signature == spec.Connection.Close:
                self.send(spec.Connection.CloseOk)

class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

port, api_port = map(int, sys.argv[1:3])
api = Server(("127.0.0.1", api_port), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()
Server(("127.0.0.1", port), Amqp).serve_forever()
"""

DOCKER = """
import json, os, pathlib, signal, subprocess, sys
here = pathlib.Path(__file__).parent.parent
arguments = sys.argv[1:]
with (here / "docker.log").open("a") as log:
    log.write(json.dumps(arguments) + "\\n")
verb = arguments[0]
if verb == "info":
    sys.exit(0 if (here / "daemon").exists() else 1)
elif arguments[:2] == ["image", "inspect"]:
    sys.exit(0 if (here / "image").exists() else 1)
elif verb == "run":
    if not os.environ["RABBITMQ_DEFAULT_PASS"]:
        sys.exit("no password")
    published = [b for a, b in zip(arguments, arguments[1:]) if a == "--publish"]
    ports = [each.split(":")[1] for each in published]
    name = arguments[arguments.index("--name") + 1]
    server = subprocess.Popen(
        [sys.executable, str(here / "server.py"), *ports],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (here / f"{name}.pid").write_text(str(server.pid))
    server.returncode = 0
elif verb == "inspect":
    print("true")
elif verb == "rm":
    pid = here / f"{arguments[-1]}.pid"
    if pid.exists():
        os.killpg(int(pid.read_text()), signal.SIGKILL)
        pid.unlink()
"""

NODE = """
import os, pathlib, re, sys
here = pathlib.Path(__file__).parent.parent
conf = pathlib.Path(os.environ["RABBITMQ_CONFIG_FILE"]).read_text()
ports = re.findall(r"(?:listeners.tcp.1 = 127.0.0.1:|tcp.port = )(\\d+)", conf)
os.execv(sys.executable, [sys.executable, str(here / "server.py"), *ports])
"""


class Machine:
    """A machine with only those programs that a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        (folder / "bin").mkdir()
        (folder / "server.py").write_text(SERVER)

    def install(self, name: str, source: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(f"#!{sys.executable}\n{source}")
        program.chmod(0o755)

    def docker(self, *, daemon: bool = True, image: bool = True) -> None:
        self.install("docker", DOCKER)
        for name, there in (("daemon", daemon), ("image", image)):
            if there:
                (self.folder / name).touch()

    def node(self, source: str = NODE) -> None:
        self.install("rabbitmq-server", source)

    def docker_calls(self, verb: str) -> list[list[str]]:
        lines = (self.folder / "docker.log").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call[0] == verb]

    def pick(self, choice: str = "auto") -> RunningBroker:
        return pick_broker(url=None, choice=choice, data_dir=self.data_dir)

    @property
    def note(self) -> Path:
        return self.data_dir / "broker.json"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(private_node, "_DEBIAN_SERVER", str(tmp_path / "none"))
    made = Machine(tmp_path)
    yield made
    for leftover in tmp_path.glob("*.pid"):
        end_group(int(leftover.read_text()), 2)


def test_a_url_is_taken_as_it_is_and_said_without_password(machine: Machine) -> None:
    url = "amqp://me:se-cret@broker.example:5672/app"
    broker = pick_broker(url=url, choice="auto", data_dir=machine.data_dir)
    assert (broker.kind, broker.url, broker.api_url) == ("url", url, None)
    assert broker.line == (
        "broker: the broker of METRONOME_BROKER_URL at "
        "amqp://me:**@broker.example:5672/app"
    )
    broker.stop()
    assert not machine.data_dir.exists()


def test_a_folder_that_cannot_be_made_is_a_reason(machine: Machine) -> None:
    machine.data_dir.write_text("in the way")
    with pytest.raises(BrokerStartFailed, match=r"cannot be written to: .*exists"):
        machine.pick("embedded")


def test_an_unknown_choice_is_refused(machine: Machine) -> None:
    with pytest.raises(BrokerError, match="one of auto, docker, node, embedded, not"):
        machine.pick("redis")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda m: None, "docker is not installed"),
        (lambda m: m.docker(daemon=False), "daemon did not answer within 5 s"),
        (lambda m: m.docker(image=False), "rabbitmq:4-management is not on this"),
    ],
)
def test_why_docker_is_passed_over(
    machine: Machine, prepare: Callable[[Machine], None], reason: str
) -> None:
    prepare(machine)
    with pytest.raises(BrokerStartFailed, match=f"no docker: .*{reason}"):
        machine.pick("docker")
    assert not machine.note.exists()


def test_a_container_is_started_joined_and_removed(machine: Machine) -> None:
    machine.docker()
    broker = machine.pick()
    assert broker.kind == "docker"
    assert broker.owned
    assert broker.api_url is not None
    assert broker.line.startswith("broker: RabbitMQ in Docker at amqp://metronome:**@")
    assert why_unreachable(broker.url) is None
    assert stat.S_IMODE(machine.note.stat().st_mode) == 0o600

    other = machine.pick()
    seen = join_broker(machine.data_dir)
    assert seen is not None
    assert other.url == seen.url == broker.url
    assert "already running" in other.line
    assert not other.owned
    other.stop()
    seen.stop()
    assert why_unreachable(broker.url) is None
    assert len(machine.docker_calls("run")) == 1

    broker.stop()
    broker.stop()
    assert why_unreachable(broker.url) is not None
    assert join_broker(machine.data_dir) is None
    assert not machine.note.exists()


def test_docker_is_never_told_to_pull_nor_shown_the_password(machine: Machine) -> None:
    machine.docker()
    broker = machine.pick("docker")
    broker.stop()
    [call] = machine.docker_calls("run")
    assert call[call.index("--pull") + 1] == "never"
    password = broker.url.split(":")[2].split("@")[0]
    assert len(password) >= 20
    assert password not in " ".join(call)
    published = [b for a, b in itertools.pairwise(call) if a == "--publish"]
    assert all(each.startswith("127.0.0.1:") for each in published)
    assert len(published) == 2


def test_each_folder_has_a_container_of_its_own(machine: Machine) -> None:
    machine.docker()
    one = machine.pick()
    two = pick_broker(url=None, choice="auto", data_dir=machine.folder / "other")
    assert one.url != two.url
    names = {call[call.index("--name") + 1] for call in machine.docker_calls("run")}
    assert len(names) == 2
    one.stop()
    assert why_unreachable(two.url) is None
    two.stop()


def test_without_docker_an_installed_server_is_started(machine: Machine) -> None:
    machine.node()
    broker = machine.pick()
    assert broker.kind == "node"
    assert "no docker: docker is not installed" in broker.line
    assert why_unreachable(broker.url) is None
    conf = (machine.data_dir / "rabbitmq" / "rabbitmq.conf").read_text()
    assert "listeners.tcp.1 = 127.0.0.1:" in conf
    assert "management.tcp.ip = 127.0.0.1" in conf
    for name in ("rabbitmq.conf", "node.json"):
        mode = (machine.data_dir / "rabbitmq" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    broker.stop()
    assert why_unreachable(broker.url) is not None


def test_a_node_keeps_its_password_and_cookie_over_a_restart(machine: Machine) -> None:
    machine.node()
    seen = []
    for _ in range(2):
        broker = machine.pick()
        cookie = (machine.data_dir / "rabbitmq" / ".erlang.cookie").read_text()
        seen.append((broker.url.split("@")[0], cookie))
        broker.stop()
    assert seen[0] == seen[1]


def test_a_server_that_ends_at_once_is_a_reason_and_not_a_wait(
    machine: Machine,
) -> None:
    machine.node("raise SystemExit(3)")
    with pytest.raises(BrokerStartFailed, match="rabbitmq-server exited with 3"):
        machine.pick("node")
    assert not machine.note.exists()


def test_the_embedded_broker_is_the_last_rung(machine: Machine) -> None:
    broker = machine.pick()
    assert broker.kind == "embedded"
    assert "for development only" in broker.line
    assert "no docker: docker is not installed" in broker.line
    assert "no node: rabbitmq-server is not installed" in broker.line
    assert why_unreachable(broker.url) is None
    other = machine.pick()
    assert other.url == broker.url
    broker.stop()
    assert why_unreachable(broker.url) is not None


def test_two_at_once_start_one(machine: Machine) -> None:
    machine.docker()
    brokers: list[RunningBroker] = []
    threads = [
        threading.Thread(target=lambda: brokers.append(machine.pick()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({broker.url for broker in brokers}) == 1
    assert [broker.owned for broker in brokers].count(True) == 1
    assert len(machine.docker_calls("run")) == 1
    for broker in brokers:
        broker.stop()


def test_another_kind_than_the_running_one_is_refused(machine: Machine) -> None:
    machine.docker()
    broker = machine.pick()
    with pytest.raises(BrokerStartFailed, match="already runs one of kind 'docker'"):
        machine.pick("node")
    assert why_unreachable(broker.url) is None
    broker.stop()


def test_a_broker_that_died_is_replaced(machine: Machine) -> None:
    machine.docker()
    first = machine.pick()
    [pid_file] = machine.folder.glob("*.pid")
    end_group(int(pid_file.read_text()), 2)
    pid_file.unlink()
    assert join_broker(machine.data_dir) is None
    second = machine.pick()
    assert second.owned
    assert second.url != first.url
    second.stop()


def test_who_joins_an_orphan_ends_it(machine: Machine) -> None:
    machine.docker()
    broker = machine.pick()
    note = json.loads(machine.note.read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_note(machine.data_dir, BrokerNote(**{**note, "owner_pid": gone.pid}))

    looking = join_broker(machine.data_dir)
    assert looking is not None
    assert not looking.owned
    heir = machine.pick()
    assert heir.owned
    assert json.loads(machine.note.read_text())["owner_pid"] == os.getpid()
    heir.stop()
    assert why_unreachable(broker.url) is not None


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "7", '{"kind": "docker"}', '{"kind": {}}']
)
def test_a_note_that_makes_no_sense_is_no_note(machine: Machine, text: str) -> None:
    machine.data_dir.mkdir()
    machine.note.write_text(text)
    assert join_broker(machine.data_dir) is None


def test_a_stale_note_kills_nobody_by_its_process_id(machine: Machine) -> None:
    machine.data_dir.mkdir()
    bystander = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        note = BrokerNote(
            kind="embedded",
            url="amqp://guest:guest@127.0.0.1:1//",
            api_url=None,
            owner_pid=bystander.pid,
            pid=bystander.pid,
        )
        write_note(machine.data_dir, note)
        machine.docker()
        machine.pick().stop()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


def test_waiting_ends_with_the_reason(machine: Machine) -> None:
    with pytest.raises(BrokerStartFailed, match=r"not ready after 0 s: .* refused"):
        wait_until_ready("amqp://a:se-cret@127.0.0.1:1//", None, 0)
    with pytest.raises(BrokerStartFailed, match="it left"):
        wait_until_ready("amqp://a:b@127.0.0.1:1//", None, 60, lambda: "it left")
