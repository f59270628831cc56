from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest

from flask_metronome.cli.log_stream import LogStream, without_prefix
from flask_metronome.cli.ports import free_port
from flask_metronome.cli.supervisor import Process, Supervisor

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (15, 3)]; "


def process(name: str, code: str, **options: object) -> Process:
    return Process(
        name=name,
        argv=(sys.executable, "-u", "-c", code),
        env=dict(os.environ),
        **options,  # type: ignore[arg-type]
    )


def supervised(
    *processes: Process, stop_seconds: float = 5.0
) -> tuple[Supervisor, io.StringIO]:
    out = io.StringIO()
    stream = LogStream(out, names=[one.name for one in processes], color=False)
    return Supervisor(processes, stream, stop_seconds=stop_seconds), out


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"


def test_lines_of_all_processes_come_out_whole_with_their_names() -> None:
    code = "[print('line', n) for n in range(50)]"
    supervisor, out = supervised(process("a", code), process("long", code))
    supervisor.start()
    assert not supervisor.wait(lambda: False, seconds=10)
    time.sleep(0.1)
    supervisor.stop()
    lines = out.getvalue().splitlines()
    assert len(lines) == 100
    assert {re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines} == {
        f"{name} | line {n}" for name in ("a   ", "long") for n in range(50)
    }


def test_omitted_lines_stay_away() -> None:
    noisy = process(
        "a", "print('noise'); print('news')", omitted=(re.compile("noise"),)
    )
    supervisor, out = supervised(noisy)
    supervisor.start()
    supervisor.wait(lambda: False, seconds=10)
    supervisor.stop()
    assert "news" in out.getvalue()
    assert "noise" not in out.getvalue()


def test_a_process_that_ends_by_itself_is_noticed() -> None:
    supervisor, _ = supervised(
        process("good", SLEEP), process("bad", "raise SystemExit(3)")
    )
    supervisor.start()
    assert not supervisor.wait(lambda: False, seconds=10)
    assert supervisor.ended() == ("bad", 3)
    supervisor.stop()


def test_stop_leaves_nothing_behind_not_even_grandchildren() -> None:
    code = (
        "import subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
        "print('grandchild', p.pid); p.wait()"
    )
    supervisor, out = supervised(process("a", code))
    supervisor.start()
    assert supervisor.wait(lambda: "grandchild" in out.getvalue(), seconds=10)
    pid = int(out.getvalue().split()[-1])
    supervisor.stop()
    deadline = time.monotonic() + 5
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_gone(pid)


def test_a_process_that_does_not_listen_is_killed_in_time() -> None:
    supervisor, out = supervised(
        process("deaf", DEAF + "print('deaf'); time.sleep(60)"), stop_seconds=0.5
    )
    supervisor.start()
    assert supervisor.wait(lambda: "deaf" in out.getvalue(), seconds=10)
    began = time.monotonic()
    supervisor.stop()
    assert 0.3 < time.monotonic() - began < 5
    assert supervisor.ended() == ("deaf", -9)


def test_a_reader_that_went_away_is_a_wish_to_stop() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as out:
        stream = LogStream(out, names=["a"], color=False)
        supervisor = Supervisor((process("a", "print(1); " + SLEEP),), stream)
        supervisor.start()
        assert not supervisor.wait(lambda: False, seconds=10)
        assert supervisor.asked_to_stop
        supervisor.stop()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("[2026-11-20 12:00:00,123: INFO/MainProcess] ready.", "ready."),
        (
            "[2026-11-20 12:00:00,123: ERROR/ForkPoolWorker-1] Task x raised",
            "ERROR Task x raised",
        ),
        ("[W 261120 12:00:00 command:168] odd", "WARNING odd"),
        ("[I 261120 12:00:00 command:168] fine", "fine"),
        ("[1, 2, 3]", "[1, 2, 3]"),
    ],
)
def test_prefixes_that_repeat_time_and_process_are_cut(line: str, shown: str) -> None:
    assert without_prefix(line) == shown


def test_color_marks_names_and_errors_only_when_wanted() -> None:
    plain, colored = io.StringIO(), io.StringIO()
    for out, color in ((plain, False), (colored, True)):
        LogStream(out, names=["a"], color=color).write("a", "ERROR no\n")
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[31mERROR no\x1b[0m" in colored.getvalue()


def test_a_stream_of_another_encoding_replaces_what_it_cannot_show() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    LogStream(out, names=["a"], color=False).write("a", "grün\n")
    assert raw.getvalue().endswith(b"a | gr?n\n")


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_port(port, "127.0.0.1")
        assert port < found < port + 100
        assert free_port(port, "127.0.0.1", taken=(found,)) > found


def test_a_foreign_address_has_no_free_port() -> None:
    with pytest.raises(OSError, match=r"no free port on 192\.0\.2\.1"):
        free_port(8000, "192.0.2.1")
