"""A RabbitMQ in a Docker container, from an image that is on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from metronome_broker.errors import BrokerStartFailed
from metronome_broker.ports import free_ports
from metronome_broker.readiness import wait_until_ready

IMAGE = "rabbitmq:4-management"
USER = "metronome"
_PROBE_SECONDS = 5.0
_COMMAND_SECONDS = 30.0
_READY_SECONDS = 60.0


def why_not_docker(seconds: float = _PROBE_SECONDS) -> str | None:
    """None when Docker can start our image without pulling it, else why not.

    Args:
        seconds: how long its daemon has to answer.
    """
    if shutil.which("docker") is None:
        return "docker is not installed"
    # The client may be there without a daemon, or with one that hangs.
    if _docker("info", seconds=seconds) is None:
        return f"docker's daemon did not answer within {seconds:g} s"
    if _docker("image", "inspect", IMAGE, seconds=seconds) is None:
        return f"image {IMAGE} is not on this machine"
    return None


def container_name(data_dir: Path) -> str:
    """The name of the container that belongs to a data folder."""
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()
    return f"metronome-broker-{digest[:12]}"


class DockerBroker:
    """One container, on loopback ports that stay the same over a restart of it.

    Args:
        name: the container's.
        disposable: whether Docker removes the container once it stops.
    """

    def __init__(self, name: str, *, disposable: bool = True) -> None:
        self.name = name
        self._disposable = disposable
        self._password = secrets.token_urlsafe(18)
        self._port, self._api_port = free_ports(2)

    @property
    def url(self) -> str:
        """AMQP URL of the default vhost, with password."""
        return f"amqp://{USER}:{self._password}@127.0.0.1:{self._port}//"

    @property
    def api_url(self) -> str:
        """URL of the management API, with password."""
        return f"http://{USER}:{self._password}@127.0.0.1:{self._api_port}/api/"

    def start(self) -> None:
        """Runs the container and waits until it is ready, a minute at most.

        A container of this name is a leftover of ours, and is removed first.

        Raises:
            BrokerStartFailed: docker refused, or it was not ready in time.
        """
        remove_container(self.name)
        arguments = ["run", "--detach", "--pull", "never", "--name", self.name]
        if self._disposable:
            arguments.append("--rm")
        arguments += [
            *("--publish", f"127.0.0.1:{self._port}:5672"),
            *("--publish", f"127.0.0.1:{self._api_port}:15672"),
            # Without values: docker takes them from its environment, so that no
            # password is seen in the list of processes.
            *("--env", "RABBITMQ_DEFAULT_USER", "--env", "RABBITMQ_DEFAULT_PASS"),
            IMAGE,
        ]
        self._run(
            *arguments,
            environment={
                "RABBITMQ_DEFAULT_USER": USER,
                "RABBITMQ_DEFAULT_PASS": self._password,
            },
        )
        try:
            self.wait()
        except BrokerStartFailed:
            self.remove()
            raise

    def wait(self) -> None:
        """Waits until broker and management API answer.

        Raises:
            BrokerStartFailed: not after a minute, or the container ended.
        """
        wait_until_ready(self.url, self.api_url, _READY_SECONDS, self._ended)

    def _ended(self) -> str | None:
        running = _docker(
            "inspect", "--format", "{{.State.Running}}", self.name, seconds=5.0
        )
        if running is not None and running.strip() == "true":
            return None
        return f"container {self.name} ended before it was ready"

    def command(self, verb: str, *arguments: str) -> str:
        """Runs ``docker <verb> … <name>``, as in ``command("pause")``.

        Raises:
            BrokerStartFailed: docker refused it or took longer than 30 s.
        """
        return self._run(verb, *arguments, self.name)

    def control(self, *arguments: str) -> str:
        """Runs ``rabbitmqctl`` inside the container and returns what it printed.

        Raises:
            BrokerStartFailed: it failed or took longer than 30 s.
        """
        return self._run("exec", self.name, "rabbitmqctl", "--quiet", *arguments)

    def remove(self) -> None:
        """Ends and removes the container, if there is one."""
        remove_container(self.name)

    def _run(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> str:
        try:
            done = subprocess.run(
                ["docker", *arguments],
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise BrokerStartFailed(f"docker {arguments[0]} failed: {exc}") from exc
        if done.returncode:
            raise BrokerStartFailed(
                f"docker {arguments[0]} failed: {done.stderr.strip()[-300:]}"
            )
        return done.stdout


def remove_container(name: str) -> None:
    """Ends and removes a container with its volumes, if there is one."""
    _docker("rm", "--force", "--volumes", name, seconds=_COMMAND_SECONDS)


def _docker(*arguments: str, seconds: float) -> str | None:
    """What docker printed, or None when it failed or took too long."""
    try:
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
