"""The broker and the databases that the beats share, in containers of our own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from metronome_broker.docker_broker import DockerBroker, why_not_docker
from metronome_broker.ports import free_ports

_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a beat needs; ``redis_url`` is ``None`` where no server is installed."""

    broker: DockerBroker
    postgres_url: str
    redis_url: str | None

    def database(self) -> str:
        """The URL of a fresh database."""
        name = f"peer_{secrets.token_hex(4)}"
        with psycopg.connect(self.postgres_url, autocommit=True) as session:
            session.execute(f"CREATE DATABASE {name}".encode())
        return f"{self.postgres_url.rpartition('/')[0]}/{name}"


@contextlib.contextmanager
def parts() -> Iterator[Parts]:
    """Start them, and remove them at the end.

    :raises SystemExit: when Docker cannot start RabbitMQ here.
    """
    missing = why_not_docker()
    if missing is not None:
        raise SystemExit(f"peers: RabbitMQ in Docker is needed, but {missing}.")
    name = f"metronome-peers-{secrets.token_hex(4)}"
    broker = DockerBroker(name, disposable=False)
    with contextlib.ExitStack() as stack:
        stack.callback(broker.remove)
        broker.start()
        postgres_url = stack.enter_context(_postgres(f"{name}-sql"))
        redis_url = stack.enter_context(_redis())
        yield Parts(broker=broker, postgres_url=postgres_url, redis_url=redis_url)


@contextlib.contextmanager
def _postgres(name: str) -> Iterator[str]:
    (port,) = free_ports(1)
    password = secrets.token_hex(8)
    docker = ("docker", "run", "--detach", "--pull", "never", "--name", name)
    subprocess.run(
        [
            *docker,
            *("--env", f"POSTGRES_PASSWORD={password}"),
            *("--publish", f"127.0.0.1:{port}:5432", "postgres:17"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    try:
        _wait_for_postgres(url)
        yield url
    finally:
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", name], stdout=subprocess.DEVNULL
        )


def _wait_for_postgres(url: str) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.3)
        else:
            return


@contextlib.contextmanager
def _redis() -> Iterator[str | None]:
    server = shutil.which("redis-server")
    if server is None:
        yield None
        return
    (port,) = free_ports(1)
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "")
    process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)
