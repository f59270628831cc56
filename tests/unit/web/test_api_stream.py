"""``GET /stream``: what is told, in which order, and who may listen."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from flask_metronome.api import stream
from flask_metronome.history import changes as changes_module
from flask_metronome.models import incidents, runs

PATH = "/metronome/api/v1/stream"
THREADED = {"wsgi.multithread": True}
EVERY = {"kind": "every", "every": 5, "unit": "minutes"}


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event, as a browser takes it."""

    kind: str
    id: str
    data: dict[str, Any]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(stream, "PAUSE_AFTER_FAILURE_SECONDS", 0.0)
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 0.0)


def listen(site: Any, path: str = PATH, last: str | None = None) -> Iterator[str]:
    """What comes, block by block, until the caller has heard enough."""
    headers = {"Last-Event-ID": last} if last else {}
    answer = site.client.get(path, headers=headers, environ_overrides=THREADED)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/event-stream"
    try:
        for chunk in answer.iter_encoded():
            yield from (block for block in chunk.decode().split("\n\n") if block)
    finally:
        answer.close()


def heard(
    site: Any, path: str = PATH, last: str | None = None, looks: int = 1
) -> list[Event]:
    """The events of the first looks."""
    found = []
    for block in listen(site, path, last):
        if block.startswith(": nothing new"):
            looks -= 1
            if looks <= 0:
                return found
        elif block.startswith("event:"):
            found.append(read(block))
    return found


def read(block: str) -> Event:
    lines = dict(line.split(": ", 1) for line in block.split("\n"))
    return Event(kind=lines["event"], id=lines["id"], data=json.loads(lines["data"]))


def incident(site: Any, **values: Any) -> str:
    row = {
        "id": str(uuid.uuid4()),
        "open_key": str(uuid.uuid4()),
        "schedule_key": "report",
        "lane": "default",
        "kind": "failed",
        "state": "open",
        "opened_at": site.clock.moment,
        "bad_since": site.clock.moment,
        "bad_count": 1,
        "happened": "It failed.",
    } | values
    site.write(incidents, **row)
    return str(row["id"])


def test_runs_incidents_and_edits_are_told_in_short(site: Any) -> None:
    site.post("/schedules", {"key": "report", "task": "shop.report", "cadence": EVERY})
    site.ids["report"] = site.get("/schedules/report").json["id"]
    run = site.run("report", ago=5, state="started", args=["a secret"])
    opened = incident(site)

    edit, told, trouble = sorted(heard(site), key=lambda e: "sri".index(e.kind[0]))

    assert (edit.kind, edit.data["key"], edit.data["action"]) == (
        "schedule",
        "report",
        "add",
    )
    assert (told.kind, told.data["id"], told.data["state"]) == ("run", run, "started")
    assert "args" not in told.data
    assert (trouble.kind, trouble.data["id"]) == ("incident", opened)
    assert trouble.data == site.get("/incidents").json["items"][0]


def test_what_was_told_is_told_again_only_when_it_changes(site: Any) -> None:
    site.schedule("report")
    run = site.run("report", ago=5, state="planned", origin="auto")
    blocks = listen(site)
    states = []
    for block in blocks:
        if block.startswith("event: run"):
            states.append(read(block).data["state"])
        elif block.startswith(": nothing new") and len(states) == 1:
            with site.state.database.begin() as connection:
                connection.execute(
                    update(runs)
                    .where(runs.c.id == run)
                    .values(state="started", updated_at=site.clock.moment)
                )
        if len(states) == 2:
            break

    assert states == ["planned", "started"]


def test_a_stream_goes_on_where_another_ended(site: Any) -> None:
    site.schedule("report")
    first = site.run("report", ago=1)
    (seen,) = heard(site)
    assert seen.data["id"] == first
    site.clock.moment += timedelta(seconds=60)
    second = site.run("report", ago=-59, origin="manual:1")

    again = [event.data["id"] for event in heard(site, last=seen.id)]

    # told at least once: the last seconds before come again
    assert again[-1] == second
    site.clock.moment += timedelta(seconds=60)
    assert heard(site) == []


@pytest.mark.parametrize("last", ["nonsense", "old"])
def test_who_was_away_for_long_is_told_to_read_again(site: Any, last: str) -> None:
    site.schedule("report")
    site.run("report", ago=1)
    (seen,) = heard(site)
    site.clock.moment += timedelta(minutes=11)

    (reset,) = heard(site, last=seen.id if last == "old" else last)

    assert (reset.kind, reset.data) == ("reset", {})
    assert heard(site, last=reset.id) == []


def test_many_changes_come_page_by_page_in_their_order(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "PAGE", 3)
    site.schedule("report")
    # eight of one instant, as a tick writes them, and two before
    made = [site.run("report", ago=9, origin=f"m:{n}") for n in range(8)]
    early = [site.run("report", ago=9.5, origin=f"e:{n}") for n in range(2)]

    found = heard(site)

    assert [event.data["id"] for event in found] == sorted(early) + sorted(made)


def test_one_schedule_or_lane_alone(site: Any) -> None:
    site.schedule("report")
    site.schedule("mail", lane="mail")
    site.run("report", ago=1)
    mail = site.run("mail", ago=1, lane="mail")
    incident(site)

    for query in ("schedule=mail", "lane=mail", "lane=mail&schedule=mail"):
        (event,) = heard(site, f"{PATH}?{query}")
        assert event.data["id"] == mail
    assert site.get("/stream?schedule=none").status_code == 404
    assert site.get("/stream?colour=red").status_code == 422


def test_a_closed_incident_and_a_removed_schedule_are_told(site: Any) -> None:
    site.post("/schedules", {"key": "report", "task": "shop.report", "cadence": EVERY})
    site.client.delete("/metronome/api/v1/schedules/report")
    incident(site, open_key=None, state="closed", closed_at=site.clock.moment)

    added, removed, closed = heard(site)

    assert (added.data["action"], added.data["state"]) == ("add", "removed")
    assert (removed.data["action"], removed.data["lane"]) == ("remove", None)
    assert closed.data["state"] == "closed"


def test_streams_are_bounded_and_their_places_come_back(
    make_site: Callable[..., Any],
) -> None:
    site = make_site(streams=1)
    answer = site.client.get(PATH, environ_overrides=THREADED)
    refused = site.client.get(PATH, environ_overrides=THREADED)
    # never begun, only closed
    answer.close()

    assert refused.status_code == 503
    assert "METRONOME_STREAMS" in refused.json["detail"]
    assert refused.headers["Retry-After"]
    assert heard(site) == []
    assert heard(site) == []
    assert site.client.head(PATH).status_code == 200
    assert heard(site) == []


def test_a_stream_ends_by_itself(make_site: Callable[..., Any]) -> None:
    site = make_site(stream_seconds=0.05)
    blocks = list(listen(site))

    assert blocks[0] == "retry: 2000"


def test_a_server_of_one_thread_does_not_stream(site: Any) -> None:
    found = site.client.get(PATH, environ_overrides={"wsgi.multithread": False})

    assert found.status_code == 503
    assert "one thread" in found.json["detail"]


def test_no_connection_is_held_and_an_outage_is_survived(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.schedule("report")
    site.run("report", ago=1)
    blocks = listen(site)
    assert next(blocks).startswith("retry:")
    pool = site.state.loop.run(_pool(site.state))
    assert pool.checkedout() == 0
    folder = site.state.settings.data_dir
    path = next(folder.glob("*.sqlite"))
    path.rename(path.with_suffix(".away"))
    site.state.loop.run(_dispose(site.state))
    path.mkdir()

    assert next(blocks).startswith(": The database")
    path.rmdir()
    path.with_suffix(".away").rename(path)

    assert read(next(b for b in blocks if b.startswith("event: run"))).kind == "run"
    blocks.close()


async def _pool(state: Any) -> Any:
    return state.loop.engine.pool


async def _dispose(state: Any) -> None:
    await state.loop.engine.dispose()


def test_reading_by_token_only(make_site: Callable[..., Any]) -> None:
    site = make_site(api_token="s3cret")

    assert site.client.get(PATH).status_code == 401
    answer = site.client.get(
        PATH,
        headers={"Authorization": "Bearer s3cret"},
        environ_overrides=THREADED,
    )
    assert answer.status_code == 200
    answer.close()
