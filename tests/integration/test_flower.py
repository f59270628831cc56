"""``celery -A app flower`` as a process: who gets in, and what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flower_process import Shop, embedded_broker, prepared_shop


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded broker's URL; a process for this module."""
    with embedded_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return prepared_shop(tmp_path, broker)


def test_nothing_but_the_health_check_is_open(shop: Shop) -> None:
    with shop.flower() as flower:
        for path in (
            "/",
            "/workers",
            "/tasks",
            "/api/tasks",
            "/api/workers",
            "/metrics",
        ):
            assert flower.ask(path).status == 401, path
            assert flower.ask(path, "metronome:wrong").status == 401, path
        assert flower.ask("/healthcheck").text == "OK"


def test_the_password_is_made_once_kept_private_and_said(shop: Shop) -> None:
    file = shop.data_dir / "flower-password"
    with shop.flower() as flower:
        password = file.read_text().strip()
        assert file.stat().st_mode & 0o777 == 0o600
        assert len(password) >= 20
        lines = [
            line for line in flower.log.read_text().splitlines() if password in line
        ]
        assert len(lines) == 1
        for path in ("/", "/api/tasks", "/metrics"):
            assert flower.ask(path, f"metronome:{password}").status == 200, path
    with shop.flower() as flower:
        assert file.read_text().strip() == password
        assert flower.ask("/", f"metronome:{password}").status == 200


def test_metrics_are_flowers_and_ours(shop: Shop) -> None:
    with shop.flower(METRONOME_FLOWER_PASSWORD="s3cret") as flower:
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.type.startswith("text/plain; version=")
        assert "metronome_database_up 1.0" in answer.text
        assert 'metronome_schedule_enabled{schedule="tick"} 1.0' in answer.text
        assert 'schedule="tick",task="shop.tick"} 0.0' in answer.text
        assert "# TYPE flower_events_total counter" in answer.text
        assert "s3cret" not in flower.log.read_text()


def test_it_is_read_only(shop: Shop) -> None:
    with shop.flower(METRONOME_FLOWER_PASSWORD="s3cret") as flower:
        for path in (
            "/api/task/async-apply/shop.tick",
            "/api/task/send-task/shop.tick",
            "/api/task/apply/shop.tick",
            "/api/task/revoke/some-id",
            "/api/worker/shutdown/celery@one",
            "/api/worker/pool/grow/celery@one",
        ):
            assert flower.ask(path, "metronome:s3cret", "POST").status == 403, path
            assert flower.ask(path, None, "POST").status in (401, 403), path


def test_it_listens_on_this_machine_only_unless_told(shop: Shop) -> None:
    with shop.flower() as flower:
        listening = re.search(r"Visit me at http://([^:]+):", flower.log.read_text())
        assert listening is not None
        assert listening.group(1) == "127.0.0.1"


def test_what_the_user_says_wins(shop: Shop) -> None:
    with shop.flower("--basic-auth=me:mine", FLOWER_MAX_TASKS="5") as flower:
        assert flower.ask("/", "me:mine").status == 200
        assert flower.ask("/metrics", "me:mine").status == 200
        assert not (shop.data_dir / "flower-password").exists()
    with shop.flower(FLOWER_READ_ONLY="false", FLOWER_BASIC_AUTH="a:b") as flower:
        path = "/api/task/send-task/shop.tick"
        assert flower.ask(path, "a:b", "POST").status == 200


def test_a_url_prefix_moves_everything(shop: Shop) -> None:
    with shop.flower(
        prefix="/ops/flower",
        FLOWER_URL_PREFIX="ops/flower",
        METRONOME_FLOWER_PASSWORD="s3cret",
    ) as flower:
        assert flower.ask("/metrics").status == 401
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.status == 200
        assert "metronome_build_info" in answer.text
        assert flower.ask("/api/tasks", "metronome:s3cret").status == 200


def test_it_survives_our_database(shop: Shop) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    with shop.flower(
        METRONOME_DATABASE_URL=nowhere, METRONOME_FLOWER_PASSWORD="s3cret"
    ) as flower:
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.status == 200
        assert "metronome_database_up 0.0" in answer.text
        assert "flower_events_total" in answer.text
        assert "metronome_runs_total" not in answer.text
