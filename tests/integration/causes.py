"""The table of causes, as data: what happened, and what is shown of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One row of the table.

    :param number: of the row in the list of causes.
    :param plain: what plain Celery shows.
    :param shown: what the run shows here.
    :param tests: the tests that make it happen, as ``file::function``.
    :param plain_states: by the negative control: what Celery's database backend
        said, and what its events said.
    """

    number: int
    key: str
    what: str
    plain: str
    shown: str
    tests: tuple[str, ...]
    plain_states: tuple[str, str | None] | None = None


CAUSES: tuple[Cause, ...] = (
    Cause(
        number=1,
        key="success",
        what="The body returns",
        plain="SUCCESS",
        shown="succeeded",
        tests=(
            "test_worker_runs::test_success",
            "test_worker_deaths::test_the_thread_pool",
        ),
    ),
    Cause(
        number=2,
        key="exception",
        what="The body raises, or meets its soft time limit",
        plain="FAILURE",
        shown="failed; timed_out (soft_time_limit)",
        tests=(
            "test_worker_runs::test_failure_is_recorded_without_secrets",
            "test_worker_runs::test_soft_time_limit",
        ),
    ),
    Cause(
        number=3,
        key="retry",
        what="`self.retry`, `autoretry_for`",
        plain=(
            "RETRY, then the next outcome in the same row; in Flower often RETRY "
            "for ever"
        ),
        shown="succeeded, with one attempt a try and retries counted once",
        tests=(
            "test_worker_runs::test_retries_are_counted_once_each",
            "test_worker_deaths::test_the_thread_pool",
        ),
    ),
    Cause(
        number=4,
        key="retries_exhausted",
        what="The retries run out",
        plain="FAILURE",
        shown="failed, with every try",
        tests=("test_worker_runs::test_retries_run_out",),
    ),
    Cause(
        number=5,
        key="retry_unpublished",
        what="The retry cannot be published",
        plain="FAILURE; nothing at all before Celery 5.7",
        shown="failed (retry_publish_failed)",
        tests=("test_causes::test_a_retry_that_cannot_be_published",),
    ),
    Cause(
        number=6,
        key="hard_limit",
        what="The hard time limit",
        plain="FAILURE, its failure told twice",
        shown="timed_out (time_limit), once",
        tests=("test_worker_runs::test_hard_time_limit",),
    ),
    Cause(
        number=7,
        key="child_killed_early",
        what="The pool's process is killed; acknowledged early",
        plain="FAILURE (WorkerLostError)",
        shown="lost (child_killed), or planned again on `rerun`",
        tests=(
            "test_worker_deaths::test_a_killed_process_of_a_task_that_acknowledges_early",
        ),
    ),
    Cause(
        number=8,
        key="child_killed_late",
        what="The pool's process is killed; acknowledged late",
        plain="SUCCESS of the second delivery: the first left no trace",
        shown=(
            "attempt lost (child_killed), then `on_lost`: lost, or run again as a "
            "second attempt"
        ),
        tests=(
            "test_worker_runs::test_a_killed_pool_process_loses_the_run",
            "test_worker_runs::test_a_killed_pool_process_is_followed_by_another_on_rerun",
        ),
        plain_states=("SUCCESS", "SUCCESS"),
    ),
    Cause(
        number=9,
        key="exit",
        what="`sys.exit` in the body",
        plain="FAILURE (WorkerLostError)",
        shown="lost (exit)",
        tests=(
            "test_worker_runs::test_a_killed_pool_process_loses_the_run",
            "test_causes_shown::test_every_end_of_a_body_and_what_is_shown_of_it",
        ),
    ),
    Cause(
        number=10,
        key="rejected",
        what="`Reject` without requeue",
        plain="FAILURE; STARTED for ever before Celery 5.7",
        shown="failed (rejected); the message is kept",
        tests=(
            "test_worker_runs::test_reject",
            "test_causes::test_told_apart_by_every_pool",
        ),
        plain_states=("FAILURE", "FAILURE"),
    ),
    Cause(
        number=11,
        key="ignored",
        what="`Ignore`",
        plain="STARTED for ever",
        shown="cancelled (ignored)",
        tests=(
            "test_worker_runs::test_ignore",
            "test_causes::test_told_apart_by_every_pool",
        ),
        plain_states=("STARTED", "STARTED"),
    ),
    Cause(
        number=12,
        key="expired",
        what="It expires in the queue",
        plain="PENDING for ever; no event",
        shown="expired, missed",
        tests=(
            "test_worker_runs::test_expired_before_it_came",
            "test_dead_letters::test_expired_where_no_worker_was",
        ),
        plain_states=("PENDING", None),
    ),
    Cause(
        number=13,
        key="revoked",
        what="Revoked before the start, or terminated",
        plain="REVOKED",
        shown="cancelled (revoked)",
        tests=(
            "test_causes::test_revoked_before_it_began",
            "test_worker_runs::test_a_terminated_body",
        ),
    ),
    Cause(
        number=14,
        key="revoked_delayed",
        what="Revoked while it is delayed",
        plain="nothing until the delay is over, then REVOKED",
        shown="cancelled (revoked), when the delay is over",
        tests=("test_causes::test_revoked_while_it_was_delayed",),
    ),
    Cause(
        number=15,
        key="worker_killed_early",
        what="The worker is killed; acknowledged early",
        plain="STARTED for ever",
        shown="lost (worker_dead) when its lease is over, or planned again on `rerun`",
        tests=("test_causes::test_a_killed_worker_of_acknowledged_tasks",),
        plain_states=("STARTED", "STARTED"),
    ),
    Cause(
        number=16,
        key="worker_killed_late",
        what="The worker is killed; acknowledged late",
        plain="STARTED, then the second delivery's outcome",
        shown="attempt lost, then `on_lost`",
        tests=("test_worker_deaths::test_a_killed_worker",),
    ),
    Cause(
        number=17,
        key="connection_early",
        what="The connection is lost; acknowledged early",
        plain="SUCCESS",
        shown="succeeded",
        tests=("test_causes::test_a_lost_connection_of_acknowledged_tasks",),
    ),
    Cause(
        number=18,
        key="connection_late",
        what="The connection is lost; acknowledged late",
        plain="SUCCESS, twice: the body ran twice",
        shown="succeeded once; the second delivery is a duplicate and not run",
        tests=(
            "test_worker_deaths::test_a_broken_connection_does_not_run_a_body_twice",
            "test_causes::test_a_lost_connection_of_acknowledged_tasks",
        ),
    ),
    Cause(
        number=19,
        key="connection_cancels",
        what="The same, with cancelling on connection loss",
        plain="RETRY, although nobody asked for one",
        shown="attempt lost (connection), then `on_lost`; no retry",
        tests=("test_causes::test_bodies_that_a_lost_connection_cuts_off",),
    ),
    Cause(
        number=20,
        key="cold_shutdown_early",
        what="Cold shutdown; acknowledged early",
        plain="RETRY for ever, although nothing will run again",
        shown="lost (cold_shutdown), or planned again on `rerun`; no retry",
        tests=("test_causes::test_cold_shutdown_of_acknowledged_tasks",),
        plain_states=("RETRY", "CANCELLED"),
    ),
    Cause(
        number=21,
        key="cold_shutdown_late",
        what="Cold shutdown; acknowledged late",
        plain="RETRY, then the second delivery's outcome",
        shown="attempt lost (cold_shutdown), then `on_lost`; no retry",
        tests=("test_worker_deaths::test_cold_shutdown_is_no_retry",),
    ),
    Cause(
        number=22,
        key="unregistered",
        what="The worker does not have the task",
        plain="FAILURE, without a name in its events",
        shown="failed (unregistered); the message is kept",
        tests=(
            "test_worker_runs::test_a_task_that_the_worker_does_not_have",
            "test_causes::test_told_apart_by_every_pool",
        ),
    ),
    Cause(
        number=23,
        key="unserializable",
        what="The result cannot be serialized",
        plain="FAILURE (EncodeError)",
        shown="failed (EncodeError)",
        tests=("test_causes::test_a_result_that_cannot_be_serialized",),
    ),
    Cause(
        number=24,
        key="broker_down",
        what="The broker is down at the due time",
        plain="nothing: beat logs it and goes on",
        shown="published when it is back; after its grace missed (publish_failed)",
        tests=(
            "test_whole_path::test_a_broker_away_for_fifteen_seconds_costs_no_run",
            "test_monitor_judgements::"
            "test_a_planned_run_is_not_missed_until_its_grace_is_over",
        ),
    ),
    Cause(
        number=25,
        key="beat_down",
        what="No beat is alive at the due time",
        plain="nothing",
        shown="missed (scheduler_down), while it lasts",
        tests=(
            "test_causes_watched::test_no_beat_and_a_thread_that_does_not_end",
            "test_monitor_overdue::test_one_row_for_the_whole_span",
        ),
    ),
    Cause(
        number=26,
        key="consumer_timeout",
        what="The body runs longer than the broker waits for its acknowledgement",
        plain="the worker ends, the body runs again",
        shown="succeeded once; the second delivery is a duplicate and not run",
        tests=("test_broker_traps::test_a_body_longer_than_the_brokers_patience",),
    ),
    Cause(
        number=27,
        key="thread_pool",
        what="Threads: time limits are not enforced",
        plain="STARTED while it lasts",
        shown="overrun, then stuck",
        tests=(
            "test_causes_watched::test_no_beat_and_a_thread_that_does_not_end",
            "test_monitor_judgements::test_stuck_needs_a_live_worker_that_lists_it",
        ),
    ),
    Cause(
        number=28,
        key="delivery_limit",
        what="It kills every process that runs it",
        plain="STARTED for ever, and the message is gone",
        shown="failed (delivery_limit), with every attempt; the message is kept",
        tests=("test_dead_letters::test_delivered_too_often",),
        plain_states=("STARTED", "STARTED"),
    ),
    Cause(
        number=29,
        key="undecodable",
        what="Its message cannot be read",
        plain=(
            "PENDING for ever, and the message is gone; a body that is no task "
            "message ends the worker"
        ),
        shown="failed (undecodable); the message is kept",
        tests=("test_dead_letters::test_what_cannot_be_read",),
    ),
)

_HEAD = """# What happened, and what is shown of it

Celery's signals and events alone get many of these wrong. Each row is made to happen
by the tests named beside it, with a real worker and a real broker where it is theirs.
What plain Celery 5.7 shows, by its database backend and its events, is seen by
`tests/integration/test_causes_plain.py` for the rows marked with a star.

Whatever a body does itself (rows 1 to 6, 8 to 12, 22 and 23) is met by one worker of
each pool in `tests/integration/test_causes_shown.py`: prefork, threads and solo,
gevent and eventlet where they are installed. It compares run, attempts, bodies and
counters, and what API, terminal and page show. Time limits and killed processes are
prefork's alone; in the other pools a body that is killed is a worker that is killed.

| | what happened | plain Celery shows | Metronome shows | tests |
|--:|---|---|---|---|
"""


def page() -> str:
    """The table as Markdown, ``docs/causes.md``."""
    return _HEAD + "".join(f"{_line(cause)}\n" for cause in CAUSES) + _TRAPS


def _line(cause: Cause) -> str:
    star = " ★" if cause.plain_states else ""
    tests = "<br>".join(f"`{test}`" for test in cause.tests)
    words = (f"{cause.number}", cause.what, cause.plain + star, cause.shown, tests)
    return "| " + " | ".join(words) + " |"


#: What the broker itself does to the unwary, and the test that shows it harmless.
TRAPS: tuple[tuple[str, str, str], ...] = (
    (
        "A half-open connection and a fast reconnect: Celery 5.7's exclusive control "
        "queue ends the worker",
        "a durable control queue that is not exclusive",
        "test_broker_traps::test_a_half_open_connection_and_a_fast_reconnect",
    ),
    (
        "A body longer than RabbitMQ's consumer timeout: the channel is closed, the "
        "worker ends",
        "the worker reconnects; the claim keeps the body from running twice; the "
        "time limits are below the timeout",
        "test_broker_traps::test_a_body_longer_than_the_brokers_patience",
    ),
    (
        "Delayed delivery binds `#.<key>` to the exchange: delivered twice",
        "routing keys of exactly two words",
        "test_topology::test_a_delayed_message_arrives_once_before_any_worker_ran",
    ),
    (
        "Delayed delivery before any worker has run: lost",
        "its queues are declared with the topology",
        "test_topology::test_a_delayed_message_arrives_once_before_any_worker_ran",
    ),
    (
        "A full queue: kombu publishes again at once, three times",
        "the nack is reported, the run waits in the outbox",
        "test_topology::test_a_full_lane_refuses_and_keeps_what_it_has",
    ),
    (
        "A memory alarm: publishing blocks for as long as it lasts",
        "a deadline; published after it, once",
        "test_publisher_rabbitmq::test_an_alarm_blocks_is_said_and_ends",
    ),
    (
        "Confirms that never come: beat and web block for ever",
        "a deadline; an unknown outcome is published again under the same id",
        "test_publisher_rabbitmq::"
        "test_a_frozen_broker_holds_nobody_longer_than_the_deadline",
    ),
    (
        "A late confirm is taken for another message's",
        "matched by delivery tag",
        "test_publisher::test_a_late_ack_confirms_nothing",
    ),
)

_TRAPS = """
## The broker's own traps

| trap | here | test |
|---|---|---|
""" + "".join(f"| {trap} | {here} | `{test}` |\n" for trap, here, test in TRAPS)


if __name__ == "__main__":
    print(page(), end="")
