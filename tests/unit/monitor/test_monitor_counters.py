"""Sums: each thing counted once, never falling, whatever is folded or pruned."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_metronome.core.claim import Delivery, Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.store import claims, counters, ends, numbers, outbox, requests
from flask_metronome.store.numbers import isolate, read_snapshot
from flask_metronome.store.ticks import tick
from metronome_monitoring.families import OUTCOMES
from metronome_monitoring.snapshot import Snapshot


def _sums(world: Any) -> counters.Sums:
    with world.database.read() as connection:
        return counters.read_sums(connection)[0]


def _sum(world: Any, name: str, label: str = "") -> int:
    return _sums(world)[counters.CounterKey(name, "tick", label)]


def _snapshot(world: Any, **options: Any) -> Snapshot:
    with world.database.read() as connection:
        return read_snapshot(
            isolate(connection),
            now=world.now,
            version="1",
            lease_seconds=30,
            **options,
        )


def test_a_run_counts_once_before_and_after_it_is_folded(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    started = world.now
    run = world.run(
        schedule,
        "failed",
        started_at=started + timedelta(seconds=3),
        finished_at=started + timedelta(seconds=45),
        retries=2,
        duplicates=1,
        late=True,
    )
    before = _sums(world)
    assert before[counters.CounterKey("runs", "tick", "auto:failed")] == 1
    assert before[counters.CounterKey("retries", "tick", "")] == 2
    assert before[counters.CounterKey("duplicates", "tick", "")] == 1
    assert before[counters.CounterKey("runs_flagged", "tick", "late")] == 1
    assert before[counters.CounterKey("start_delay", "tick", "5.0")] == 1
    assert before[counters.CounterKey("start_delay_ms", "tick", "")] == 3000
    assert before[counters.CounterKey("run_duration", "tick", "other:60.0")] == 1
    assert before[counters.CounterKey("run_duration_ms", "tick", "other:")] == 42_000
    assert world.sweep(monitor)["runs_folded"] == 1
    assert _sums(world) == before
    assert world.row(run).counted
    assert world.sweep(monitor)["runs_folded"] == 0


def test_an_open_run_counts_what_it_has_so_far(world: Any) -> None:
    schedule = world.schedule()
    run = world.run(schedule, "retrying", started_at=world.now, retries=3)
    assert _sum(world, "retries") == 3
    assert _sum(world, "runs", "auto:retrying") == 0
    world.change_run(run, state="succeeded", finished_at=world.now)
    assert _sum(world, "retries") == 3
    assert _sum(world, "runs", "auto:succeeded") == 1


def test_attempts_count_by_outcome_and_plain_tasks_have_no_schedule(
    world: Any,
) -> None:
    schedule = world.schedule()
    run = world.run(schedule, "started", started_at=world.now)
    world.attempt(run, state="retried")
    world.attempt(run, state="lost", lost_cause="worker_dead", delivery=2)
    world.attempt(run, state="running", delivery=3)
    plain = {"run_id": None, "task": "plain"}
    world.attempt(run, state="succeeded", task_id="one", **plain)
    world.attempt(run, state="lost", task_id="two", lost_cause="exit", **plain)
    expected = {
        ("attempts", "tick", "retried"): 1,
        ("attempts", "tick", "lost"): 1,
        ("attempts", "", "succeeded"): 1,
        ("attempts", "", "lost"): 1,
        ("attempts_lost", "shop.tick", "worker_dead"): 1,
        ("attempts_lost", "", "exit"): 1,
    }

    def attempts() -> dict[Any, int]:
        return {
            tuple(key): value
            for key, value in _sums(world).items()
            if key.name.startswith("attempts")
        }

    assert attempts() == expected
    assert world.sweep(world.settled())["attempts_folded"] == 0
    assert attempts() == expected


def test_missed_due_times_do_not_change_their_cause_when_a_beat_decides(
    world: Any,
) -> None:
    monitor = world.settled()
    due = world.now + timedelta(seconds=60)
    world.schedule(next_due_at=due, miss_after_at=due + timedelta(seconds=30))
    world.wait(monitor, 400)
    seen = _sum(world, "runs_missed", "scheduler_down")
    assert seen == 6
    with world.database.begin() as connection:
        tick(connection, now=world.now, batch=10, owner="beat", lease_seconds=30)
    assert _sum(world, "runs_missed", "scheduler_down") == seen
    assert _sum(world, "runs_not_caught_up", "policy") == seen - 1
    world.sweep(monitor)
    assert _sum(world, "runs_missed", "scheduler_down") == seen


def test_the_last_success_outlives_its_run(world: Any) -> None:
    schedule = world.schedule()
    moment = world.ago(100 * 86_400)
    run = world.run(schedule, "succeeded", due_at=moment, finished_at=moment)
    assert _snapshot(world).schedules[0].last_success_at == moment.timestamp()
    world.sweep(world.monitor())
    assert world.row(run) is None
    assert _snapshot(world).schedules[0].last_success_at == moment.timestamp()


def test_gauges_say_how_things_stand(world: Any) -> None:
    due = world.now + timedelta(seconds=60)
    first = world.schedule(
        next_due_at=due, miss_after_at=due + timedelta(seconds=30), created_at=world.now
    )
    world.schedule("later", state="paused", created_at=world.now + timedelta(seconds=1))
    world.run(first, "started", started_at=world.now, stuck=True)
    world.run(first, "published", due_at=world.ago(1))
    world.run(first, "waiting", due_at=world.ago(2))
    world.beat()
    world.beat(stopped_at=world.now)
    world.beat(heartbeat_at=world.ago(16))
    world.worker(active=["a", "b"])
    world.worker(heartbeat_at=world.ago(91))
    world.monitor().sweep()
    found = _snapshot(world)
    one, two = found.schedules
    assert (one.key, one.enabled, one.overdue_seconds) == ("tick", True, 0.0)
    assert (one.in_progress, one.waiting, one.stuck) == (1, 2, 1)
    assert one.next_due_at == due.timestamp()
    assert (two.key, two.enabled) == ("later", False)
    assert (found.beats_up, found.workers_up, found.executing) == (1, 1, 2)
    assert found.beat_last_tick_at == world.now.timestamp()
    assert found.monitor_last_sweep_at == world.now.timestamp()
    world.clock.tick(90)
    assert _snapshot(world).schedules[0].overdue_seconds == 0.0
    world.clock.tick(1)
    assert _snapshot(world).schedules[0].overdue_seconds == 31.0


def test_schedules_beyond_the_bound_share_one_name(world: Any) -> None:
    for number in range(5):
        schedule = world.schedule(
            f"s{number}", created_at=world.now + timedelta(seconds=number)
        )
        world.run(schedule, "succeeded", finished_at=world.now)
    found = _snapshot(world, most_schedules=2)
    assert [s.key for s in found.schedules] == ["s0", "s1", "__other__"]
    assert found.schedules[2].sums["runs"] == {"auto:succeeded": 3}


def test_runs_count_by_what_made_them(world: Any) -> None:
    schedule = world.schedule()
    world.schedule("tock", after_key="tick")
    for number, (origin, catchup) in enumerate(
        [
            ("auto", False),
            ("auto", True),
            ("manual:2", False),
            ("backfill:3", False),
            ("event:4", False),
            ("by hand", False),
        ]
    ):
        ended = {"due_at": world.ago(number), "finished_at": world.now}
        world.run(schedule, "failed", origin=origin, catchup=catchup, **ended)
    found = {s.key: s for s in _snapshot(world).schedules}
    words = ("auto", "catchup", "manual", "backfill", "event", "other")
    assert found["tick"].sums["runs"] == {f"{word}:failed": 1 for word in words}
    assert (found["tick"].follows, found["tock"].follows) == (False, True)


def test_backfilled_runs_are_counted_from_when_they_are_asked_for(world: Any) -> None:
    world.schedule()
    for expected in (2, 0):
        with world.database.begin() as connection:
            made = requests.backfill(
                connection,
                "tick",
                after=world.ago(120),
                until=world.now,
                name="one",
                who="me",
                now=world.now,
            )
        assert made == expected
    runs = _snapshot(world).schedules[0].sums["runs"]
    assert runs == {f"backfill:{outcome}": 0 for outcome in OUTCOMES}


def test_losses_are_counted_from_the_start_where_a_schedule_has_the_task(
    world: Any,
) -> None:
    run = world.run(world.schedule(), "published")
    ended = {"state": "failed", "runtime_seconds": 1.0}
    world.attempt(run, run_id=None, task_id="one", task="plain", **ended)
    found = _snapshot(world).tasks
    assert found["shop.tick"] == {"attempts_lost": {}}
    assert "attempts_lost" not in found["plain"]


def test_losses_of_tasks_beyond_the_bound_share_one_name(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "MOST_TASKS", 2)
    for number, task in enumerate(("z", "y", "a")):
        moment = world.now + timedelta(seconds=number)
        schedule = world.schedule(f"s{number}", task=task, created_at=moment)
        run = world.run(schedule, "lost", finished_at=world.now)
        world.attempt(run, task=task, state="lost", lost_cause="exit")
    # the newest gives way, whatever its name
    found = {t: sums["attempts_lost"] for t, sums in _snapshot(world).tasks.items()}
    assert found == {task: {"exit": 1} for task in ("z", "y", "__other__")}


def test_a_duplicate_after_the_fold_is_counted(world: Any) -> None:
    schedule = world.schedule()
    run = world.run(schedule, "succeeded", finished_at=world.now, duplicates=1)
    world.sweep(world.monitor())
    assert world.row(run).counted
    delivery = Delivery(
        run_id=run,
        task="shop.tick",
        retries=0,
        redelivered=False,
        worker="celery@one",
        worker_id=None,
        pid=1,
    )
    with world.database.begin() as connection:
        decided = claims.claim(connection, delivery, lease_seconds=30, now=world.now)
    assert decided.verdict is Verdict.DUPLICATE
    assert _sum(world, "duplicates") == 2


def test_a_miss_keeps_its_first_cause_whatever_the_run_comes_to(world: Any) -> None:
    monitor = world.settled()
    schedule = world.schedule()
    tried = {"publish_after": world.now, "publish_error": "refused"}
    run = world.run(schedule, "planned", **tried)
    world.wait(monitor, 31)
    assert _sum(world, "runs_missed", "publish_failed") == 1
    # the broker is back: published late, claimed, ended
    with world.database.begin() as connection:
        outbox.record_published(connection, [run], now=world.now)
    assert world.row(run).state == "published"
    delivery = Delivery(
        run_id=run,
        task="shop.tick",
        retries=0,
        redelivered=False,
        worker="celery@one",
        worker_id=None,
        pid=1,
    )
    with world.database.begin() as connection:
        decided = claims.claim(connection, delivery, lease_seconds=30, now=world.now)
    assert decided.verdict is Verdict.CLAIM
    assert world.row(run).reason == "publish_failed"
    ending = Ending(
        run_id=run, retries=0, state=AttemptState.SUCCEEDED, fence=decided.fence
    )
    with world.database.begin() as connection:
        assert ends.finish(connection, ending, now=world.now)
    row = world.row(run)
    assert (row.state, row.reason, row.missed) == ("succeeded", "publish_failed", True)
    world.sweep(monitor)
    missed = {
        key.label: n for key, n in _sums(world).items() if key.name == "runs_missed"
    }
    assert missed == {"publish_failed": 1}


def test_what_is_published_again_was_not_missed(world: Any) -> None:
    schedule = world.schedule()
    run = world.run(schedule, "planned", published_at=world.now)
    world.clock.tick(600)
    with world.database.begin() as connection:
        outbox.record_published(connection, [run], now=world.now)
    row = world.row(run)
    assert (row.state, row.missed, row.reason) == ("published", False, None)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"state": "missed", "reason": "policy"}, "scheduler_down"),
        ({"state": "missed", "reason": "unroutable"}, "unroutable"),
        ({"state": "planned", "reason": "publish_failed"}, "publish_failed"),
        ({"state": "planned", "reason": "scheduler_down"}, "scheduler_down"),
        ({"state": "succeeded", "reason": "scheduler_down"}, "scheduler_down"),
        ({"state": "succeeded", "reason": None}, "publish_failed"),
        ({"state": "succeeded", "catchup": True}, "scheduler_down"),
        ({"state": "skipped", "reason": "overlap", "catchup": True}, "scheduler_down"),
        ({"state": "expired", "reason": "expired", "published": 0}, "expired"),
        ({"state": "expired", "reason": "expired", "finished": 30}, "expired"),
        ({"state": "expired", "reason": "expired", "finished": 31}, "publish_failed"),
        ({"state": "expired", "reason": "expired", "published": 31}, "publish_failed"),
    ],
)
def test_the_cause_of_a_miss(world: Any, values: dict[str, Any], cause: str) -> None:
    schedule = world.schedule()
    for name in ("published", "finished"):
        if name in values:
            seconds = values.pop(name)
            values[f"{name}_at"] = world.now + timedelta(seconds=seconds)
    values.setdefault("finished_at", world.now + timedelta(seconds=60))
    world.run(schedule, values.pop("state"), missed=True, **values)
    assert _sum(world, "runs_missed", cause) == 1
