"""A real RabbitMQ under test, and what can be done to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from metronome_broker.private_node import PrivateNode
from metronome_broker.readiness import wait_until_ready

#: A call that waits for a broker which stands still would be held for as long as the
#: test lets it; this tells the one from the other on any machine.
NOT_HELD_SECONDS = 20.0


class Faults(Protocol):
    """What can be done to a broker; every verb returns once it is true."""

    def pause(self) -> None: ...
    def unpause(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def ctl(self, *arguments: str) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rabbit:
    """A broker to test against.

    ``faults`` is None for one that only a URL is known of. ``container`` is the
    container's id in Docker.
    """

    url: str
    api_url: str | None
    kind: str
    faults: Faults | None = None
    container: str | None = None

    def _can(self) -> Faults:
        assert self.faults is not None, "this broker is known by its URL only"
        return self.faults

    def pause(self) -> None:
        """Freezes every process of it; the kernel still accepts connections."""
        self._can().pause()

    def unpause(self) -> None:
        self._can().unpause()

    def stop(self) -> None:
        """Ends it cleanly; its data and its port stay."""
        self._can().stop()

    def start(self) -> None:
        """Starts it again after ``stop`` or ``kill``, until it is ready."""
        self._can().start()

    def kill(self) -> None:
        """SIGKILL."""
        self._can().kill()

    def ctl(self, *arguments: str) -> str:
        """``rabbitmqctl``."""
        return self._can().ctl(*arguments)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the management API; the decoded answer or None."""
        assert self.api_url is not None, "this broker has no management API"
        parts = urlsplit(self.api_url)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        request = urllib.request.Request(
            f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {b64encode(login.encode()).decode()}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_vhost(self, name: str) -> str:
        """Makes a vhost this broker's user may use; its AMQP URL."""
        parts = urlsplit(self.url)
        user = unquote(parts.username or "guest")
        if self.api_url is not None:
            self.api("PUT", f"vhosts/{quote(name, safe='')}", {})
            rights = {"configure": ".*", "write": ".*", "read": ".*"}
            path = f"permissions/{quote(name, safe='')}/{quote(user, safe='')}"
            self.api("PUT", path, rights)
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}"

    def delete_vhost(self, name: str) -> None:
        """Removes a vhost with all that is in it."""
        if self.api_url is not None:
            self.api("DELETE", f"vhosts/{quote(name, safe='')}")
        else:
            self.ctl("delete_vhost", name)


class ContainerFaults:
    """Faults of a broker in a container, by its name or id."""

    def __init__(
        self, container: str, url: str, api_url: str, *, keeps_port: bool
    ) -> None:
        self._container = container
        self._keeps_port = keeps_port
        self._url = url
        self._api_url = api_url

    def pause(self) -> None:
        self._docker("pause", self._container)

    def unpause(self) -> None:
        self._docker("unpause", self._container)

    def stop(self) -> None:
        self._check_port_stays()
        self._docker("stop", "--time", "20", self._container)

    def start(self) -> None:
        self._docker("start", self._container)
        wait_until_ready(self._url, self._api_url, 60)

    def kill(self) -> None:
        self._check_port_stays()
        self._docker("kill", self._container)

    def ctl(self, *arguments: str) -> str:
        return self._docker("exec", self._container, "rabbitmqctl", "-q", *arguments)

    def _check_port_stays(self) -> None:
        assert self._keeps_port, (
            "the shared broker would come back on another port: use own_rabbitmq"
        )

    def _docker(self, *arguments: str) -> str:
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        ).stdout


class NodeFaults:
    """Faults of a private node."""

    def __init__(self, node: PrivateNode) -> None:
        self._node = node

    def pause(self) -> None:
        self._node.signal(signal.SIGSTOP)

    def unpause(self) -> None:
        self._node.signal(signal.SIGCONT)

    def stop(self) -> None:
        self._node.stop()

    def start(self) -> None:
        self._node.start(same_ports=True)

    def kill(self) -> None:
        self._node.signal(signal.SIGKILL)
        self._node.stop()

    def ctl(self, *arguments: str) -> str:
        return self._node.control(*arguments)


def named_broker() -> Rabbit | None:
    """The broker of the environment, or None."""
    url = os.environ.get("METRONOME_TEST_BROKER_URL")
    if not url:
        return None
    api_url = os.environ.get("METRONOME_TEST_BROKER_API_URL")
    return Rabbit(url=url, api_url=api_url, kind="url")


def container_broker(
    container: str, url: str, api_url: str, *, keeps_port: bool
) -> Rabbit:
    """A broker in a container that is already running."""
    return Rabbit(
        url=url,
        api_url=api_url,
        kind="docker",
        faults=ContainerFaults(container, url, api_url, keeps_port=keeps_port),
        container=container,
    )


def node_broker(node: PrivateNode) -> Rabbit:
    """A private node that is already running."""
    return Rabbit(
        url=node.url, api_url=node.api_url, kind="node", faults=NodeFaults(node)
    )
