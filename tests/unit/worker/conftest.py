"""Parts that the tests of the worker side share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Under importlib's import mode the folder of a conftest is not on the path.
sys.path.insert(0, str(Path(__file__).parent))
from worker_app_in_process import App
from worker_store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.database.dispose()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path)
    yield made
    made.close()
