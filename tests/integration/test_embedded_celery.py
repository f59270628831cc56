"""A real Celery against the embedded broker, each part a process of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

APP = """
import os
import time

from celery import Celery
from kombu import Exchange, Queue

app = Celery("demo", broker=os.environ["DEMO_BROKER"])
tasks = Exchange("tasks", "topic")
app.conf.update(
    task_queues=[
        Queue(
            "tasks.lane",
            tasks,
            routing_key="lane.*",
            queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 5},
        )
    ],
    task_default_queue="tasks.lane",
    task_default_exchange="tasks",
    task_default_exchange_type="topic",
    task_default_routing_key="lane.demo",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"confirm_publish": True},
    beat_schedule={"tick": {"task": "demo.say", "schedule": 1.0, "args": ["tick"]}},
)


def tell(words):
    with app.connection_for_write() as connection:
        connection.SimpleQueue("told").put(words)


@app.task(name="demo.say")
def say(words):
    tell(words)


@app.task(name="demo.flaky", bind=True)
def flaky(self):
    tell(f"try {self.request.retries} at {time.time()}")
    if self.request.retries == 0:
        raise self.retry(countdown=1)


@app.task(name="demo.stuck", bind=True)
def stuck(self):
    tell(f"redelivered={self.request.delivery_info['redelivered']}")
    if not self.request.delivery_info["redelivered"]:
        time.sleep(600)
"""
DEADLINE_SECONDS = 120.0


@dataclass
class Stage:
    """The broker process, and how to run Celery commands against it."""

    url: str
    api: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "DEMO_BROKER": self.url, "PYTHONPATH": str(self.folder)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "celery", "-A", "demo", *words]

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Celery command in a session of its own, killed whole at the end."""
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(*words),
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            kill(process)

    def worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return self.running("worker", "-c", "1", "-E", "-n", "one@test", "-l", "INFO")

    def send(self, name: str, *args: str) -> None:
        app = Celery("sender", broker=self.url, set_as_current=False)
        app.conf.task_default_queue = "unused"
        with app.connection_for_write() as connection:
            app.send_task(
                name,
                args=args,
                connection=connection,
                exchange="tasks",
                routing_key="lane.demo",
                declare=[],
            )

    def logs(self) -> str:
        return "\n".join(each.read_text() for each in self.folder.glob("*.log"))


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("celery")
    (folder / "demo.py").write_text(APP)
    process = subprocess.Popen(
        [sys.executable, "-m", "metronome_broker.embedded"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"amqp://(\S+) api=http://(\S+) ", line)
    assert found, line
    yield Stage(
        url=f"amqp://guest:guest@{found[1]}//",
        api=f"http://guest:guest@{found[2]}",
        folder=folder,
    )
    process.terminate()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


@pytest.fixture
def told(stage: Stage) -> Iterator[Callable[[], str]]:
    """The next thing that a task told, within the deadline."""
    with Connection(stage.url) as connection:
        queue = connection.SimpleQueue("told")
        queue.clear()

        def next_told() -> str:
            try:
                message = queue.get(timeout=DEADLINE_SECONDS)
            except queue.Empty:
                pytest.fail(f"no task told anything; logs:\n{stage.logs()}")
            message.ack()
            return str(message.payload)

        yield next_told
        queue.close()


def test_tasks_run_retry_later_and_answer_remote_control(
    stage: Stage, told: Callable[[], str]
) -> None:
    with stage.worker():
        wait_for_consumer(stage)
        stage.send("demo.say", "hello")
        assert told() == "hello"

        stage.send("demo.flaky")
        first, second = told(), told()
        assert first.startswith("try 0")
        assert second.startswith("try 1")
        waited = float(second.split()[-1]) - float(first.split()[-1])
        # The delay is the broker's: 28 queues with a TTL each, chained.
        assert 0.9 < waited < 10

        ping = subprocess.run(
            stage.command("inspect", "ping", "-t", "10"),
            cwd=stage.folder,
            env=stage.env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert ping.returncode == 0, ping.stdout + ping.stderr
        assert "one@test" in ping.stdout
        assert "pong" in ping.stdout


def test_a_killed_worker_loses_no_task(stage: Stage, told: Callable[[], str]) -> None:
    with stage.worker() as process:
        wait_for_consumer(stage)
        stage.send("demo.stuck")
        assert told() == "redelivered=False"
        kill(process)
    with stage.worker():
        assert told() == "redelivered=True"
        wait_for(lambda: queue_of(stage)["messages"] == 0, otherwise=stage.logs)


def test_beat_publishes(stage: Stage, told: Callable[[], str]) -> None:
    with stage.worker(), stage.running("beat", "-s", str(stage.folder / "beat")):
        assert told() == "tick"
        assert told() == "tick"


def test_flower_shows_the_queues(stage: Stage) -> None:
    port = free_port()
    flower = stage.running(
        "flower",
        f"--port={port}",
        "--address=127.0.0.1",
        f"--broker-api={stage.api}",
        "--basic-auth=someone:secret",
    )
    with stage.worker(), flower:
        wait_for_consumer(stage)
        base = f"http://127.0.0.1:{port}"
        answer = wait_for(
            lambda: json.loads(get(f"{base}/api/queues/length", "someone:secret"))
        )
        names = {queue["name"] for queue in answer["active_queues"]}
        assert "tasks.lane" in names
        assert "tasks.lane" in get(f"{base}/broker", "someone:secret")
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{base}/broker", "someone:wrong")
        assert refused.value.code == 401
        refused.value.close()


def queue_of(stage: Stage) -> dict[str, Any]:
    """The lane's queue as the management API shows it."""
    url = stage.api.replace("guest:guest@", "")
    answer = get(f"{url}queues/%2F/tasks.lane", "guest:guest")
    queue: dict[str, Any] = json.loads(answer)
    return queue


def wait_for_consumer(stage: Stage) -> None:
    """Wait until a worker consumes from the lane's queue."""
    wait_for(lambda: queue_of(stage)["consumers"], otherwise=stage.logs)


def wait_for(ask: Callable[[], Any], otherwise: Callable[[], str] = str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            if answer := ask():
                return answer
        time.sleep(0.1)
    pytest.fail(f"not within {DEADLINE_SECONDS} s\n{otherwise()}")


def get(url: str, login: str) -> str:
    token = base64.b64encode(login.encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
