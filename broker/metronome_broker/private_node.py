"""A RabbitMQ of our own, from an installed ``rabbitmq-server``, in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from metronome_broker.errors import BrokerStartFailed
from metronome_broker.ports import free_ports
from metronome_broker.private_file import write_private
from metronome_broker.process_group import end_group
from metronome_broker.readiness import wait_until_ready

USER = "metronome"
_DEBIAN_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_READY_SECONDS = 60.0
_STOP_SECONDS = 15.0
_PORT_NAMES = ("amqp", "api", "distribution", "epmd")
_CONF = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
collect_statistics_interval = 1000
"""


def find_server() -> Path | None:
    """The installed server's own start script, or None.

    Not Debian's ``/usr/sbin`` wrapper: it changes the user and drops our
    environment, and with it every setting of ours.
    """
    for candidate in (_DEBIAN_SERVER, shutil.which("rabbitmq-server")):
        if candidate is not None and Path(candidate).exists():
            return Path(candidate).resolve()
    return None


def why_not_node() -> str | None:
    """None when a private node can be started, else why not."""
    return None if find_server() else "rabbitmq-server is not installed"


class PrivateNode:
    """One node with its data, cookie, ports and logs in a folder.

    All that is needed to stop it is in the folder too, so a later process can.
    Messages survive a restart in the same folder.

    Raises:
        BrokerStartFailed: no ``rabbitmq-server`` is installed.
    """

    def __init__(self, folder: Path) -> None:
        server = find_server()
        if server is None:
            raise BrokerStartFailed("rabbitmq-server is not installed")
        self._server = server
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._state = self._load_state()
        self._process: subprocess.Popen[bytes] | None = None

    def _load_state(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError):
            state = json.loads((self._folder / "node.json").read_text())
            if isinstance(state, dict):
                return {str(key): str(value) for key, value in state.items()}
        # The user is made at the first start only, so its password must last.
        return {"password": secrets.token_urlsafe(18), **_new_ports()}

    @property
    def url(self) -> str:
        """AMQP URL of the default vhost, with password."""
        return f"amqp://{self._login}@127.0.0.1:{self._state['amqp']}//"

    @property
    def api_url(self) -> str:
        """URL of the management API, with password."""
        return f"http://{self._login}@127.0.0.1:{self._state['api']}/api/"

    @property
    def _login(self) -> str:
        return f"{USER}:{self._state['password']}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, which leads its own process group."""
        return int(self._state["pid"]) if "pid" in self._state else None

    def start(self, *, same_ports: bool = False) -> None:
        """Starts the node and waits until it is ready, a minute at most.

        Args:
            same_ports: keep the ports of the last start instead of free ones.

        Raises:
            BrokerStartFailed: it ended, or was not ready in time.
        """
        if not same_ports:
            self._state |= _new_ports()
        self._write_files()
        with (self._folder / "out.log").open("ab") as out:
            process = self._process = subprocess.Popen(
                [str(self._server)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._state["pid"] = str(process.pid)
        self._save_state()

        def ended() -> str | None:
            code = process.poll()
            return None if code is None else f"rabbitmq-server exited with {code}"

        try:
            wait_until_ready(self.url, self.api_url, _READY_SECONDS, ended)
        except BrokerStartFailed:
            self.stop()
            raise

    def _save_state(self) -> None:
        write_private(self._folder / "node.json", json.dumps(self._state))

    def _write_files(self) -> None:
        folder = self._folder
        for name in ("mnesia", "log", "generated"):
            (folder / name).mkdir(exist_ok=True)
        cookie = folder / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20), mode=0o400)
        (folder / "env.conf").write_text("")
        (folder / "advanced.config").write_text("[].\n")
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        conf = _CONF.format(user=USER, **self._state)
        write_private(folder / "rabbitmq.conf", conf)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        return {
            **inherited,
            "HOME": str(folder),  # where Erlang looks for its cookie
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            # A name daemon of its own, so that no other node is met or disturbed.
            "ERL_EPMD_PORT": self._state["epmd"],
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": "metronome@localhost",
            "RABBITMQ_DIST_PORT": self._state["distribution"],
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def control(self, *arguments: str) -> str:
        """Runs ``rabbitmqctl`` against the node and returns what it printed.

        Raises:
            subprocess.SubprocessError: it failed or took longer than a minute.
        """
        return subprocess.run(
            [str(self._server.parent / "rabbitmqctl"), "--quiet", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60.0,
            check=True,
        ).stdout

    def signal(self, number: int) -> None:
        """Sends a signal to the server's whole process group, if it runs."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self) -> None:
        """Ends the node and its name daemon; its data stays in the folder."""
        end_group(self.pid, _STOP_SECONDS)
        if self._process is not None:
            self._process.poll()
        self._state.pop("pid", None)
        self._save_state()
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["epmd", "-port", self._state["epmd"], "-kill"],
                env=self._environment(),
                capture_output=True,
                timeout=5.0,
                check=False,
            )


def _new_ports() -> dict[str, str]:
    ports = free_ports(len(_PORT_NAMES))
    return {name: str(port) for name, port in zip(_PORT_NAMES, ports, strict=True)}
