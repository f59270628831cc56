"""Results of tasks and saved groups, as the Celery backend keeps them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    case,
    delete,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from flask_metronome.models import attempts, groups, results, runs

#: Once a task has succeeded, nothing that comes later replaces it.
_SUCCESS = "SUCCESS"
#: Columns that say whether a row stays, in the order in which to change them.
_DECIDING = ("updated_at", "status")
#: Which rows are not replaced: a success, or also what is newer.
Stays = Literal["success", "newer"] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One task's result as stored; ``result`` is encoded by the backend.

    ``status`` is Celery's word. ``done`` says whether it is an end. ``run_id`` is
    the run that started the task; ``None`` for the run's own.
    """

    task_id: str
    status: str
    done: bool
    result: bytes | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    traceback: str | None = None
    children: list[Any] | None = None
    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    run_id: str | None = None


def store(
    connection: Connection, result: Result, *, now: datetime, late: bool = False
) -> None:
    """Write a result in one statement; a success that is there stays.

    :param late: it was true at ``now``, some time ago: what was written since stays.
    """
    values = asdict(result)
    done = values.pop("done")
    values |= {"updated_at": now, "done_at": now if done else None}
    stays: Stays = "newer" if late and result.status != _SUCCESS else "success"
    statement = _upsert(connection.dialect.name, results, tuple(values), stays)
    connection.execute(statement, values)


def find(connection: Connection, task_id: str) -> Row[Any] | None:
    """A task's result row."""
    return connection.execute(
        select(results).where(results.c.task_id == task_id)
    ).one_or_none()


def find_run(connection: Connection, task_id: str) -> Any:
    """Of the run of that id, if there is one: how it stands and who has it."""
    return connection.execute(
        select(
            runs.c.state,
            runs.c.error,
            runs.c.error_type,
            runs.c.reason,
            runs.c.worker,
            attempts.c.pid,
        )
        .outerjoin(
            attempts,
            (attempts.c.task_id == runs.c.id) & (attempts.c.fence == runs.c.fence),
        )
        .where(runs.c.id == task_id)
        .limit(1)
    ).one_or_none()


def forget(connection: Connection, task_id: str) -> None:
    """Remove a task's result."""
    connection.execute(delete(results).where(results.c.task_id == task_id))


def save_group(
    connection: Connection, group_id: str, encoded: bytes, *, now: datetime
) -> None:
    """Write a group's members; saving it again replaces them."""
    values = {"group_id": group_id, "result": encoded, "done_at": now}
    statement = _upsert(connection.dialect.name, groups, tuple(values), None)
    connection.execute(statement, values)


def find_group(connection: Connection, group_id: str) -> Row[Any] | None:
    """A saved group."""
    return connection.execute(
        select(groups).where(groups.c.group_id == group_id)
    ).one_or_none()


def delete_group(connection: Connection, group_id: str) -> None:
    """Remove a saved group."""
    connection.execute(delete(groups).where(groups.c.group_id == group_id))


def prune(connection: Connection, *, before: datetime, batch: int = 1000) -> int:
    """Remove up to a batch of results and of groups; how many were removed."""
    removed = 0
    for table, key, moment in (
        (results, results.c.task_id, results.c.updated_at),
        (groups, groups.c.group_id, groups.c.done_at),
    ):
        old = list(
            connection.execute(
                select(key).where(moment < before).limit(batch)
            ).scalars()
        )
        if old:
            connection.execute(delete(table).where(key.in_(old)))
        removed += len(old)
    return removed


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, names: tuple[str, ...], stays: Stays) -> Any:
    """Insert, or replace the row of the same key unless it stays.

    Built once for each: to build it takes as long as to execute it.

    :param names: the columns that are given.
    """
    key = next(iter(table.primary_key.columns))
    if dialect in ("mysql", "mariadb"):
        return _mysql_upsert(table, key, names, stays)
    kind = postgresql if dialect == "postgresql" else sqlite
    statement = kind.insert(table)
    new = statement.excluded
    kept = _kept(table, new, stays)
    return statement.on_conflict_do_update(
        index_elements=[key],
        set_={name: new[name] for name in names if name != key.name},
        where=None if kept is None else not_(kept),
    )


def _mysql_upsert(
    table: Table, key: Column[Any], names: tuple[str, ...], stays: Stays
) -> Any:
    statement = mysql.insert(table)
    kept = _kept(table, statement.inserted, stays)
    # evaluated from left to right on the row as changed so far: what decides is
    # last, and the status after the time, since a new success would stay
    others = sorted(
        (n for n in names if n != key.name),
        key=lambda n: _DECIDING.index(n) if n in _DECIDING else -1,
    )
    changed = []
    for name in others:
        new: Any = statement.inserted[name]
        if kept is not None:
            new = case((kept, table.c[name]), else_=new)
        changed.append((name, new))
    return statement.on_duplicate_key_update(changed)


def _kept(table: Table, new: Any, stays: Stays) -> ColumnElement[bool] | None:
    """What is true of a row that must not be replaced."""
    if stays is None:
        return None
    succeeded = table.c.status == _SUCCESS
    if stays == "success":
        return succeeded
    return or_(succeeded, table.c.updated_at > new.updated_at)
