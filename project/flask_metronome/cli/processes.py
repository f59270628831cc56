"""What `up` starts: web, beat, worker, monitor and Flower of one Flask app."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask_metronome.cli.supervisor import Process
from metronome_broker import Lane

_CELERY_APP = "flask_metronome.from_flask_app"
# The development server's own words; the page asks for itself every few seconds.
_WEB_NOISE = (
    re.compile(r'"(?:GET|HEAD) \S+ HTTP/1\.\d" (?:200|304)'),
    re.compile(r"^(?:Press CTRL\+C to quit| \* Debug mode: off| \* Serving Flask)"),
    re.compile(r"This is a development server\. Do not use it in a production"),
    re.compile(r"^ \* Running on "),
)
_BEAT_NOISE = (re.compile(r"^setup plugin alembic"),)
_WORKER_NOISE = (
    re.compile(r"^(?:mingle|Global QoS|Connected to)\b"),
    # Its end is written, too: one line an attempt is enough.
    re.compile(r"^Task \S+ received$"),
)
_FLOWER_NOISE = (
    re.compile(r"^(?:Broker: |Registered tasks|Visit me at|Connected to|\[?'|\s+')"),
    # It asks before the worker is there, and asks again.
    re.compile(r"^WARNING Inspect method \w+ failed"),
)
_ROOT_WARNING = "You're running the worker with superuser privileges"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where everything listens, and how much works at once.

    :param lanes: those that the worker serves; none: all of them.
    :param environ: the environment of every process.
    """

    host: str
    port: int
    flower_port: int
    concurrency: int
    url_prefix: str
    environ: Mapping[str, str]
    lanes: tuple[str, ...] = ()
    cwd: Path | None = None

    @property
    def page_url(self) -> str:
        """The page that a person looks at."""
        return f"{self.web_url}{self.url_prefix}/"

    @property
    def web_url(self) -> str:
        """Where the Flask app listens."""
        return f"http://{_in_url(self.host)}:{self.port}"

    @property
    def flower_url(self) -> str:
        """Where Flower listens."""
        return f"http://{_in_url(self.host)}:{self.flower_port}"

    @property
    def processes(self) -> tuple[Process, ...]:
        """What is to be started, in the order in which it is written about."""
        return (
            self._web(),
            self._beat(),
            self._worker(),
            self._monitor(),
            self._flower(),
        )

    def _web(self) -> Process:
        words = ("run", "--no-reload", "--host", self.host, "--port", str(self.port))
        return self._process("web", ("flask", *words), omitted=_WEB_NOISE)

    def _beat(self) -> Process:
        words = (*_celery("beat"), "--scheduler", "metronome", "--loglevel", "INFO")
        return self._process("beat", words, omitted=_BEAT_NOISE)

    def _worker(self) -> Process:
        # A name of its own: two `up` on one machine must not be one worker.
        words = [f"--hostname=up-{os.getpid()}@%h", f"--concurrency={self.concurrency}"]
        if self.lanes:
            queues = ",".join(Lane(name=lane).queue_name for lane in self.lanes)
            words.append(f"--queues={queues}")
        argv = (*_celery("worker"), *words, "--loglevel=INFO")
        return self._process("worker", argv, omitted=_WORKER_NOISE)

    def _monitor(self) -> Process:
        return self._process("monitor", ("flask", "metronome", "monitor"))

    def _flower(self) -> Process:
        words = (f"--address={self.host}", f"--port={self.flower_port}")
        return self._process(
            "flower", (*_celery("flower"), *words), omitted=_FLOWER_NOISE
        )

    def _process(
        self,
        name: str,
        words: tuple[str, ...],
        *,
        omitted: tuple[re.Pattern[str], ...] = (),
    ) -> Process:
        python = (sys.executable, "-W", f"ignore:{_ROOT_WARNING}")
        return Process(
            name=name,
            argv=(*python, "-m", *words),
            env=self.environ,
            cwd=self.cwd,
            omitted=omitted,
        )


def _celery(command: str) -> tuple[str, ...]:
    return ("celery", "--quiet", "--app", _CELERY_APP, command)


def _in_url(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
