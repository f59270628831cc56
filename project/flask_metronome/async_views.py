"""How our ``async def`` views run: on this process's loop, on the pooled engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.database import is_disconnect
from flask_metronome.errors import DatabaseUnreachable, SchemaBehind
from flask_metronome.state import State, state_of

Params = ParamSpec("Params")
Result = TypeVar("Result")

_NO_TABLE = ("no such table", "does not exist", "doesn't exist")


def on_loop(
    view: Callable[Params, Coroutine[Any, Any, Result]],
) -> Callable[Params, Result]:
    """Run an ``async def`` view on the loop thread.

    Flask sees an ordinary function, so the host app's own way of running
    async views stays as it is.
    """

    @wraps(view)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return state_of().loop.run(view(*args, **kwargs))

    return run


@asynccontextmanager
async def reading(state: State | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection to read with; only on the loop.

    :raises DatabaseUnreachable: when the database does not answer.
    :raises SchemaBehind: when our tables are not there.
    """
    state = state or state_of()
    database = state.database
    try:
        async with state.loop.engine.connect() as connection:
            yield connection
    except PoolTimeout as error:
        raise DatabaseUnreachable(database.public_url, error) from error
    except DBAPIError as error:
        no_table = any(words in str(error.orig) for words in _NO_TABLE)
        if no_table or database.has_no_file:
            raise SchemaBehind(None, "this version's tables") from error
        if is_disconnect(error):
            cause = error.orig or error
            raise DatabaseUnreachable(database.public_url, cause) from error
        raise


async def database_now(connection: AsyncConnection) -> datetime:
    """The deciding clock's instant."""
    return await connection.run_sync(state_of().database.now)
