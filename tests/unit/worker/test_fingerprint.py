"""Which failures are the same one: by type and place, on every host."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from worker_app_in_process import App

from flask_metronome.core.ending import fingerprint

BODY = """
class Shop:
    def pay(self, amount):
        {line}

def other():
    {line}
"""


def trace_of(folder: Path, module: str, call: str, line: str = "1 / 0") -> Any:
    """The traceback of a call in a module that lies in that folder."""
    scope: dict[str, Any] = {"__name__": module}
    code = compile(BODY.format(line=line), str(folder / "tasks.py"), "exec")
    exec(code, scope)
    with pytest.raises(ZeroDivisionError) as raised:
        eval(call, scope)
    trace = raised.value.__traceback__
    assert trace is not None
    return trace.tb_next  # without this function


def mark(trace: TracebackType | None, kind: str = "ZeroDivisionError") -> str:
    return fingerprint(kind, trace)


def test_the_same_wherever_the_code_lies(tmp_path: Path) -> None:
    here = mark(trace_of(tmp_path / "release-1", "shop", "Shop().pay(1)"))
    there = mark(trace_of(tmp_path / "celery" / "2", "shop", "Shop().pay(2)"))
    later = mark(trace_of(tmp_path, "shop", "Shop().pay(2)", "x = 1; x / 0"))
    assert here == there == later


def test_another_type_module_or_function_is_another(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "shop", "Shop().pay(1)")
    others = {
        mark(trace),
        mark(trace, "shop.Broke"),
        mark(trace_of(tmp_path, "shop2", "Shop().pay(1)")),
        mark(trace_of(tmp_path, "shop", "other()")),
    }
    assert len(others) == 4


def test_frames_of_celery_only_are_better_than_none(tmp_path: Path) -> None:
    one, two = (
        mark(trace_of(tmp_path, "celery.app", call))
        for call in ("Shop().pay(1)", "other()")
    )
    assert one != two
    assert len(mark(None)) == 64


def test_an_exception_that_cannot_be_pickled_is_shown_by_its_own_name(
    shop: App,
) -> None:
    class Broken(Exception):
        def __init__(self) -> None:
            super().__init__("broken")
            self.lock = threading.Lock()

    @shop.metronome.task(name="shop.fails")
    def fails() -> None:
        raise Broken

    shop.store.add_run("r")
    shop.trace(fails, run_id="r")
    assert shop.store.run("r").error_type.endswith("Broken")
    assert "broken" in shop.store.run("r").error
