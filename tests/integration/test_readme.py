"""The README's app and API examples, run word for word."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
START_SECONDS = 120.0


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(folder: Path) -> dict[str, str]:
    """A user's environment: nothing of ours but a data folder and a token."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("METRONOME_")}
    bin_folder = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join((bin_folder, kept["PATH"])),
        "METRONOME_DATA_DIR": str(folder / "data"),
        "METRONOME_BROKER": "embedded",
        "METRONOME_API_TOKEN": "a-token-of-the-test",
        # curl fails when the answer is an error, and says so
        "CURL_HOME": str(folder),
    }


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture
def ten_lines(tmp_path: Path) -> Path:
    """A folder with the README's ``app.py`` and its tables and schedules."""
    (app,) = [block for block in blocks("python") if block.startswith("# app.py")]
    (tmp_path / "app.py").write_text(app)
    (tmp_path / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    run(["flask", "metronome", "init-db"], tmp_path)
    run(["flask", "metronome", "sync"], tmp_path)
    return tmp_path


@pytest.fixture
def web(ten_lines: Path) -> Iterator[str]:
    """The address of the app, running."""
    port = free_port()
    server = subprocess.Popen(
        ["flask", "run", "--port", str(port)],
        cwd=ten_lines,
        env=environment(ten_lines),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + START_SECONDS
        while not answers(f"{address}/metronome/healthz"):
            assert server.poll() is None, "flask run ended"
            assert time.monotonic() < give_up, "flask run does not answer"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_the_ten_lines_are_listed_with_their_schedule(ten_lines: Path) -> None:
    shown = run(["flask", "metronome", "schedules", "list"], ten_lines)
    assert "send-report" in shown


def test_the_api_examples_work(ten_lines: Path, web: str) -> None:
    (examples,) = [block for block in blocks("sh") if block.startswith("api=")]
    here = examples.replace("http://127.0.0.1:8000", web)
    assert here != examples
    run(["sh", "-ec", here], ten_lines)
    shown = run(["flask", "metronome", "runs", "list", "--json"], ten_lines)
    assert "manual:42" in shown


def test_the_settings_table_is_where_the_readme_says(ten_lines: Path) -> None:
    (command,) = re.findall(r"`(python -c '[^`]*')`", README)
    assert "``DATABASE_URL``" in run(["sh", "-ec", command], ten_lines)


def test_the_example_at_run_time_works(ten_lines: Path) -> None:
    (example,) = [b for b in blocks("python") if b.startswith("metronome.schedules")]
    script = (
        "from app import app, metronome\n"
        "from flask_metronome import Definition, every\n"
        f"{example}print(metronome.schedules.get('tidy-up').definition.task)\n"
    )
    assert run(["python", "-c", script], ten_lines).strip() == "app.send_report"
