"""Every error Flask-Metronome raises on purpose, grouped by who can mend it.

Each message is one sentence that names the field, what was expected and what
came. Nothing here imports anything else of this package.
"""

from __future__ import annotations


class MetronomeError(Exception):
    """Base of all errors of Flask-Metronome."""


# -- bad input: the caller can mend it ---------------------------------------


class InputInvalid(MetronomeError, ValueError):
    """One field of the input is wrong.

    :param field: the field's name as the caller knows it, e.g. ``cron``.
    :param expected: what would have been right, in words.
    :param got: the value that came.
    """

    def __init__(self, field: str, expected: str, got: object) -> None:
        self.field = field
        self.expected = expected
        self.got = got
        super().__init__(f"{field}: expected {expected}, got {got!r}.")


class CadenceInvalid(InputInvalid):
    """A cadence that cannot be understood or can never be met."""


class ScheduleInvalid(InputInvalid):
    """A schedule with a field that makes no sense."""


class UnknownTask(ScheduleInvalid):
    """A schedule names a task that the Celery app does not have."""


class UnknownLane(ScheduleInvalid):
    """A schedule or a task names a lane that the topology does not have."""


class SettingInvalid(InputInvalid):
    """A ``METRONOME_*`` setting that is unknown or has a wrong value."""


# -- state: what was asked for does not fit what is there --------------------


class NotFound(MetronomeError, LookupError):
    """Nothing of that kind has that name."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"There is no {kind} {name!r}.")


class Conflict(MetronomeError):
    """The thing changed meanwhile, or is in a state that forbids the change."""


class AlreadyExists(Conflict):
    """A schedule of that key is there already."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"A schedule with the key {key!r} exists already.")


# -- wiring and surroundings --------------------------------------------------


class NotInitialized(MetronomeError, RuntimeError):
    """The Flask app has no Metronome yet; call ``Metronome(app)`` first."""

    def __init__(self) -> None:
        super().__init__(
            "This Flask app has no Metronome: call Metronome(app) or "
            "metronome.init_app(app) first."
        )


class NoCurrentApp(NotInitialized):
    """Several apps have this Metronome, and it is not clear which is meant."""

    def __init__(self) -> None:
        RuntimeError.__init__(
            self,
            "Several Flask apps have this Metronome and none is current: "
            "use it inside the context of one, `with app.app_context():`.",
        )


class DatabaseUnreachable(MetronomeError):
    """The database does not answer.

    :param url: its URL without the password.
    :param cause: what the driver said.
    """

    def __init__(self, url: str, cause: BaseException) -> None:
        self.url = url
        first_line = str(cause).strip().splitlines()[0] if str(cause) else repr(cause)
        super().__init__(f"The database {url} does not answer: {first_line}")


#: What a missing module is installed by: an extra of ours.
EXTRAS = {
    "aiomysql": "mysql",
    "aiosmtpd": "demo",
    "apprise": "notify",
    "ephem": "solar",
    "psycopg": "postgres",
    "psycopg_pool": "postgres",
    "pymysql": "mysql",
    "redis": "redbeat",
}


class NotInstalled(MetronomeError):
    """A module is not there that comes with an extra.

    :param module: its name, one of :data:`EXTRAS`.
    """

    def __init__(self, module: str) -> None:
        super().__init__(
            f"{module} is not installed: "
            f"pip install 'Flask-Metronome[{EXTRAS[module]}]'"
        )


class SourceUnreadable(MetronomeError):
    """What schedules should be imported from cannot be read; the message says why."""


class DeadlineExceeded(MetronomeError):
    """Something took longer than it may.

    :param what: what was waited for, in words.
    :param seconds: how long.
    """

    def __init__(self, what: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"{what} took longer than {seconds:g} seconds.")


class FlowerUnreachable(MetronomeError):
    """Flower does not answer as it should; nothing of ours depends on it."""


class Busy(MetronomeError):
    """There is no room for this right now; later there may be."""


class SchemaBehind(MetronomeError):
    """The database lacks our tables or has them in another version."""

    def __init__(self, found: str | None, expected: str) -> None:
        self.found = found
        self.expected = expected
        there = f"is at version {found}" if found else "has no Metronome tables"
        super().__init__(
            f"The database {there}, expected {expected}: "
            "run `flask metronome init-db` (new) or `flask metronome migrate`."
        )
