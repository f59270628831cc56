"""Groups of commands that are imported when used and fail in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from flask_metronome.cli.commands import Found
from flask_metronome.cli.failure import as_failure


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    Whatever goes wrong in one of them ends as one sentence on standard error:
    exit code 2 for bad input, 1 for a failure.

    :param found: name → where the command is.
    """

    def __init__(self, *args: Any, found: Mapping[str, Found], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found = dict(found)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Begin; what the terminal's encoding does not have is escaped, not fatal."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        return super().make_context(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a day's work."""
        return [*self._found, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command of that name."""
        found = self._found.get(name)
        if found is None:
            return super().get_command(ctx, name)
        module, _, attribute = found.at.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """The list of commands; their help is known without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, at.help) for name, at in self._found.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        :raises click.ClickException: for whatever has a sentence to it.
        """
        try:
            return super().invoke(ctx)
        except Exception as error:
            failure = as_failure(error)
            if failure is None:
                raise
            raise failure from error
