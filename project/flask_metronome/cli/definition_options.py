"""The options that describe a schedule, and the definition they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from flask_metronome.cli.parameters import DurationType, InstantType, JsonType, StepType
from flask_metronome.core.schedule import (
    CATCHUPS,
    MOST_CAUGHT_UP,
    ON_LOST,
    OVERLAPS,
)
from flask_metronome.errors import CadenceInvalid

CADENCES = ("cron", "every", "once", "solar", "rrule", "follows")
_ZONED = ("cron", "rrule")

_CADENCE_OPTIONS = (
    click.option("--cron", metavar="EXPR", help="«0 8 * * mon-fri»; 5 or 6 fields."),
    click.option("--every", type=StepType(), help="«10s», «5 min», «1.5 hours»."),
    click.option("--once", type=InstantType(), help="A single instant."),
    click.option("--solar", metavar="EVENT,LAT,LON", help="«sunset,52.52,13.40»."),
    click.option("--rrule", metavar="TEXT", help="An RFC 5545 rule."),
    click.option("--follows", metavar="KEY[,STATE]", help="«import,succeeded»."),
    click.option("--tz", metavar="ZONE", help="The zone of --cron or --rrule."),
)

# Option (without the dashes) → field of the definition.
_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lane": ("lane", {"help": "The task class; by default the task's own."}),
    "args": ("args", {"type": JsonType(list), "help": "Positional arguments, JSON."}),
    "kwargs": ("kwargs", {"type": JsonType(dict), "help": "Named arguments, JSON."}),
    "description": ("description", {"help": "What it is for, in words."}),
    "start-at": ("start_at", {"type": InstantType(), "help": "Not due before."}),
    "end-at": ("end_at", {"type": InstantType(), "help": "Not due after."}),
    "max-runs": ("max_runs", {"type": int, "help": "Runs, then it is finished."}),
    "jitter": (
        "jitter_seconds",
        {"type": DurationType(), "help": "Put off by up to that."},
    ),
    "catchup": (
        "catchup",
        {
            "type": click.Choice(CATCHUPS),
            "help": "What goes of what was missed; at overlap skip, all in line.",
        },
    ),
    "catchup-limit": (
        "catchup_limit",
        {"type": int, "help": f"Runs of catchup «all»; up to {MOST_CAUGHT_UP}."},
    ),
    "catchup-window": (
        "catchup_window_seconds",
        {"type": DurationType(), "help": "How far back catchup «all» looks."},
    ),
    "grace": ("grace_seconds", {"type": DurationType(), "help": "Later is missed."}),
    "start-deadline": (
        "start_deadline_seconds",
        {"type": DurationType(), "help": "Not started by then: expired."},
    ),
    "late-after": (
        "late_after_seconds",
        {"type": DurationType(), "help": "Later is late."},
    ),
    "max-runtime": (
        "max_runtime_seconds",
        {"type": DurationType(), "help": "Longer is overrun."},
    ),
    "overlap": (
        "overlap",
        {"type": click.Choice(OVERLAPS), "help": "What is due while one runs."},
    ),
    "concurrency-key": (
        "concurrency_key",
        {"help": "Runs of one key exclude each other."},
    ),
    "on-lost": (
        "on_lost",
        {"type": click.Choice(ON_LOST), "help": "When a worker dies."},
    ),
    "bad-in-a-row": (
        "bad_in_a_row",
        {"type": int, "help": "Bad runs that open an incident."},
    ),
    "good-to-close": (
        "good_to_close",
        {"type": int, "help": "Good runs that close it."},
    ),
    "options": ("options", {"type": JsonType(dict), "help": "Message options, JSON."}),
}

FIELDS = tuple(field for field, _ in _FIELDS.values())

Command = Callable[..., Any]


def cadence_options(command: Command) -> Command:
    """Add the options of the cadences."""
    for option in reversed(_CADENCE_OPTIONS):
        command = option(command)
    return command


def policy_options(command: Command) -> Command:
    """Add the options of all other fields of a definition."""
    for name, (field, settings) in reversed(_FIELDS.items()):
        command = click.option(f"--{name}", field, default=None, **settings)(command)
    return command


def cadence_of(given: Mapping[str, Any], default_tz: str) -> dict[str, Any] | None:
    """The cadence that the options describe; None when they name none.

    :raises CadenceInvalid: two cadences, or a zone for one that has none.
    """
    named = [name for name in CADENCES if given.get(name) is not None]
    tz = given.get("tz")
    if len(named) > 1:
        both = " and ".join(f"--{name}" for name in named)
        raise CadenceInvalid("cadence", "one of them", both)
    if not named:
        if tz is not None:
            raise CadenceInvalid("tz", "--cron or --rrule beside it", tz)
        return None
    kind = named[0]
    if tz is not None and kind not in _ZONED:
        raise CadenceInvalid("tz", "--cron or --rrule beside it", f"--{kind}")
    return _values(kind, given[kind], tz or default_tz)


def _values(option: str, value: Any, tz: str) -> dict[str, Any]:
    if option == "follows":
        key, _, state = value.partition(",")
        followed = {"schedule": key.strip(), "state": state.strip() or "succeeded"}
        return {"kind": "after", **followed}
    return {"kind": option, **_instants(option, value, tz)}


def _instants(kind: str, value: Any, tz: str) -> dict[str, Any]:
    if kind == "cron":
        return {"expression": value, "tz": tz}
    if kind == "every":
        return {"every": value[0], "unit": value[1]}
    if kind == "once":
        return {"at": value.isoformat()}
    if kind == "rrule":
        return {"rule": value, "tz": tz}
    return _solar(value)


def _solar(value: str) -> dict[str, Any]:
    parts = [part.strip() for part in value.split(",")]
    try:
        event, lat, lon = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise CadenceInvalid("solar", "EVENT,LAT,LON", value) from None
    if len(parts) > 3:
        raise CadenceInvalid("solar", "EVENT,LAT,LON", value)
    return {"event": event, "lat": lat, "lon": lon}


def policies_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given, as :meth:`Definition.from_dict` reads them."""
    return {name: given[name] for name in FIELDS if given.get(name) is not None}
