"""What help and documents say of commands: whole lines, and words that they take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flask_metronome.cli import metronome_cli

ROOT = Path(__file__).parents[2]
SHOWN = sorted(
    line
    for name in ("README.md", "CONTRIBUTING.md", "docs/own-app.md", "docs/policies.md")
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("flask metronome ")
)


def contexts(context: click.Context) -> Iterator[click.Context]:
    """A command and whatever is below it."""
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, name
            below = click.Context(
                command, info_name=name, parent=context, terminal_width=80
            )
            yield from contexts(below)


def test_no_line_of_help_is_cut_off() -> None:
    top = click.Context(metronome_cli, info_name="flask metronome", terminal_width=80)
    for context in contexts(top):
        said = context.get_help()
        assert not re.search(r"^  [a-z-]+ .*\.\.\.$", said, re.MULTILINE), said


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_in_the_documents_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    context = click.Context(metronome_cli, info_name="flask metronome")
    command: click.Command = metronome_cli
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
        context = click.Context(command, info_name=line, parent=context)
    command.parse_args(context, words)
