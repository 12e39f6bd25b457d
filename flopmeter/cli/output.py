"""How commands print: JSON for machines, a console for people.

Owns: the form of printed JSON and the console's width and colours.
May touch: standard output.
Called by every command that prints data; rich is imported only where a table is drawn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, exact integers.")
"""The option every printing command has."""


PIPE_COLUMNS = 1_000
"""Wider than any row; a reader that needs lines folds them itself."""


SIMULATED_KEY = "flopmeter.simulated"
"""Where a call's context says whether the ledger it was given is simulated."""


def print_json(content: object) -> None:
    """Write a value as JSON; people get it indented, a pipe gets the same.

    A document of a ledger says whether that is simulated.
    """
    context = click.get_current_context(silent=True)
    simulated = context.meta.get(SIMULATED_KEY) if context else None
    if isinstance(content, Mapping) and simulated is not None and "simulated" not in content:
        content = {"simulated": simulated, **content}
        if "schema" in content:
            content = {"schema": content["schema"], **content}
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    """The console tables are drawn on; as wide as the terminal.

    In a pipe there is no colour and, unless COLUMNS says otherwise, a row is one line, so that
    grep finds all of it.

    Args:
        stderr: whether it is standard error, so that standard output stays JSON alone.
    """
    from rich.console import Console

    class PipedConsole(Console):
        """Leaves a closed pipe to the command line, which has an exit code for it; rich has 1."""

        def on_broken_pipe(self) -> None:
            """Say what happened, as every other write does."""
            raise BrokenPipeError

    out = PipedConsole(highlight=False, stderr=stderr)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = PIPE_COLUMNS
    return out
