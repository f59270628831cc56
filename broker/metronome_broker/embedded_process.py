"""Our embedded broker, run in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from metronome_broker.errors import BrokerStartFailed
from metronome_broker.ports import free_ports
from metronome_broker.process_group import end_group
from metronome_broker.readiness import wait_until_ready

_READY_SECONDS = 15.0
_STOP_SECONDS = 5.0
#: An embedded broker whose starter was killed ends by itself after this long
#: without a connection.
_IDLE_EXIT_SECONDS = 300
_MODULE = "metronome_broker.embedded"


class EmbeddedProcess:
    """One embedded broker on free loopback ports, its output in a log file."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "embedded.log"
        self._port, self._api_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """AMQP URL of the default vhost."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    @property
    def api_url(self) -> str:
        """URL of the few management endpoints that Flower asks."""
        return f"http://guest:guest@127.0.0.1:{self._api_port}/api/"

    @property
    def pid(self) -> int | None:
        """Process id, once started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts it and waits until it lets us in, 15 s at most.

        Raises:
            BrokerStartFailed: it ended, with the last line it wrote, or was not
                ready in time.
        """
        arguments = ["--port", str(self._port), "--management-port"]
        arguments += [str(self._api_port), "--idle-exit", str(_IDLE_EXIT_SECONDS)]
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches beats and workers,
            # which still want to say goodbye to it.
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def ended() -> str | None:
            code = process.poll()
            if code is None:
                return None
            return f"embedded broker exited with {code}: {self._last_line()}"

        try:
            wait_until_ready(self.url, None, _READY_SECONDS, ended)
        except BrokerStartFailed:
            self.stop()
            raise

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    def stop(self) -> None:
        """Ends it; what it held in memory is gone."""
        end_group(self.pid, _STOP_SECONDS)
        if self._process is not None:
            self._process.poll()
