"""A throw-away Prometheus in a folder of the test's own."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_SECONDS = 120.0


def find_prometheus() -> tuple[str, str] | None:
    """The server and ``promtool``, if both are there."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    return (server, tool) if server and tool else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prometheus:
    """A server that scrapes every second; ``url`` is its root."""

    url: str

    def get(self, path: str, **asked: str) -> Any:
        """The ``data`` of an answer of its API.

        :raises AssertionError: when it answers an error, with the error.
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[Any]:
        """The samples that an expression yields now."""
        found: list[Any] = self.get("query", query=expression)["result"]
        return found


@contextlib.contextmanager
def running_prometheus(
    folder: Path, target: str, path: str, rules: Path
) -> Iterator[Prometheus]:
    """Start a server that scrapes ``http://<target><path>`` and evaluates rules."""
    found = find_prometheus()
    assert found is not None, "find_prometheus() first"
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: ['{rules}']\n"
        "scrape_configs:\n"
        "  - job_name: metronome\n"
        f"    metrics_path: {path}\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                found[0],
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(f"http://{address}/-/ready", process)
        yield Prometheus(url=f"http://{address}")
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        assert process.poll() is None, "prometheus ended at once"
        assert time.monotonic() < give_up, "prometheus did not become ready"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
