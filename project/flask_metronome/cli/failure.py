"""What went wrong, as one sentence and an exit code: 2 bad input, 1 failure."""

from __future__ import annotations

import re

import click
from flask.cli import NoAppException
from sqlalchemy.exc import SQLAlchemyError

from flask_metronome.errors import (
    EXTRAS,
    InputInvalid,
    MetronomeError,
    NotInitialized,
    NotInstalled,
)
from metronome_broker.errors import BrokerError, InvalidLane

BAD_INPUT = 2
FAILED = 1

_URL_PASSWORD = re.compile(r"(?P<start>\w://[^\s:/@]*:)[^\s@/]+(?=@)")


class Failure(click.ClickException):
    """A command that ends with one sentence.

    :param exit_code: 2 for bad input, 1 for a failure.
    """

    def __init__(self, sentence: str, *, exit_code: int = FAILED) -> None:
        super().__init__(without_passwords(sentence))
        self.exit_code = exit_code  # type: ignore[misc]


def as_failure(error: Exception) -> click.ClickException | None:
    """The sentence for an error; None when it is a fault of the program."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    if isinstance(error, click.UsageError):
        return Failure(_usage_sentence(error), exit_code=error.exit_code)
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, (InputInvalid, InvalidLane, NotInitialized)):
        return Failure(str(error), exit_code=BAD_INPUT)
    if isinstance(error, (MetronomeError, BrokerError)):
        return Failure(str(error))
    if isinstance(error, SQLAlchemyError):
        return Failure(_database_sentence(error))
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return Failure(f"The system refused: {error}")
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return Failure(str(NotInstalled(error.name)))
    return None


def without_passwords(text: str) -> str:
    """The text with the password of every URL in it as ``**``."""
    return _URL_PASSWORD.sub(r"\g<start>**", text)


def _usage_sentence(error: click.UsageError) -> str:
    sentence = error.format_message().strip()
    if error.ctx is None or isinstance(error, NoAppException):
        return sentence
    return f"{sentence.rstrip('.')}. See `{error.ctx.command_path} --help`."


def _database_sentence(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else repr(cause)
    if "no such table" in said or "UndefinedTable" in type(cause).__name__:
        return (
            "The database has no Metronome tables, expected them: "
            "run `flask metronome init-db`."
        )
    return f"The database refused: {said}"
