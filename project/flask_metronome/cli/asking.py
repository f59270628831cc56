"""What commands share in asking the app: its state, its history, who is asking."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.database import is_disconnect
from flask_metronome.errors import DatabaseUnreachable, SchemaBehind
from flask_metronome.state import State

Answer = TypeVar("Answer")


def ask(
    state: State, question: Callable[[AsyncConnection], Awaitable[Answer]]
) -> Answer:
    """Read from the history and wait for the answer.

    :raises DatabaseUnreachable: the database does not answer.
    :raises SchemaBehind: nobody has made it yet.
    """

    async def answer() -> Answer:
        async with state.loop.engine.connect() as connection:
            return await question(connection)

    try:
        return state.loop.run(answer())
    except DBAPIError as error:
        if state.database.has_no_file:
            raise SchemaBehind(None, "this version's tables") from error
        if "no such table" not in str(error) and is_disconnect(error):
            cause = error.orig or error
            raise DatabaseUnreachable(state.database.public_url, cause) from error
        raise


def now_of(state: State) -> datetime:
    """The instant now, by the database's clock.

    :raises SchemaBehind: nobody has made the database yet.
    """
    if state.database.has_no_file:
        raise SchemaBehind(None, "this version's tables")
    with state.database.read() as connection:
        return state.database.now(connection)


def who() -> str:
    """The person at the keyboard, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        # A container's user id may have no name.
        return "cli"
