"""Records of what a worker could not write yet, as JSON for the spool."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.spool import Record
from flask_metronome.store.results import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """The end of a run that no worker has begun."""

    run_id: str
    state: RunState
    reason: str
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedBack:
    """An acknowledged message that could not be claimed: it must be sent again."""

    run_id: str
    retries: int


def record_of(
    *,
    ending: Ending | None = None,
    result: Result | None = None,
    closing: Closing | None = None,
    handed_back: HandedBack | None = None,
) -> Record:
    """What is to be written, as values that JSON has."""
    record: Record = {}
    if closing is not None:
        record["closing"] = asdict(closing)
    if handed_back is not None:
        record["handed_back"] = asdict(handed_back)
    if ending is not None:
        values = asdict(ending)
        moment = ending.retry_at
        values["retry_at"] = moment.isoformat() if moment else None
        record["ending"] = values
    if result is not None:
        values = asdict(result)
        if result.result is not None:
            values["result"] = base64.b64encode(result.result).decode()
        record["result"] = values
    return record


def read_ending(values: Mapping[str, Any] | None) -> Ending | None:
    """The ending of a record, if it has one."""
    if values is None:
        return None
    moment = values["retry_at"]
    changed = {
        "state": AttemptState(values["state"]),
        "retry_at": datetime.fromisoformat(moment) if moment else None,
    }
    return Ending(**_known(Ending, {**values, **changed}))


def read_result(values: Mapping[str, Any] | None) -> Result | None:
    """The result of a record, if it has one."""
    if values is None:
        return None
    encoded = values["result"]
    decoded = base64.b64decode(encoded) if encoded is not None else None
    return Result(**_known(Result, {**values, "result": decoded}))


def read_closing(values: Mapping[str, Any] | None) -> Closing | None:
    """The end of an unbegun run of a record, if it has one."""
    if values is None:
        return None
    return Closing(**_known(Closing, {**values, "state": RunState(values["state"])}))


def read_handed_back(values: Mapping[str, Any] | None) -> HandedBack | None:
    """The message of a record that must be sent again, if it has one."""
    return None if values is None else HandedBack(**_known(HandedBack, values))


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what another version of a worker beside this one wrote, too."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def runs_of(record: Record) -> set[str]:
    """The ids of the tasks that a record is about."""
    found = {
        (record.get("ending") or {}).get("run_id"),
        (record.get("result") or {}).get("task_id"),
        (record.get("closing") or {}).get("run_id"),
        (record.get("handed_back") or {}).get("run_id"),
    }
    return {each for each in found if each}


def bare(
    ending: Ending | None, result: Result | None
) -> tuple[Ending | None, Result | None]:
    """How it ended, without what was said: text that a database may refuse."""
    if ending is not None:
        said = "What it said could not be stored." if ending.error else None
        ending = replace(ending, error=said, traceback=None, retry_reason=None)
    if result is not None:
        result = replace(
            result, result=None, traceback=None, children=None, args=None, kwargs=None
        )
    return ending, result
