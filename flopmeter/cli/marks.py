"""The mark of a simulated ledger, on every command that is given one.

Owns: which commands are marked, the words, and the field of JSON.
May touch: the ledger that the command names (reading); standard output.
Called by the command line's front door, for every command it loads, so that no command can be
written without the mark.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from flopmeter.cli.output import SIMULATED_KEY
from flopmeter_core.errors import FlopmeterError

MARK = "SIMULATED: every figure of this ledger is made up"

MARK_THEMSELVES = frozenset(
    f"flopmeter {words}"
    for words in (
        "totals",
        "forecast",
        "alert list",
        "review list",
        "run list",
        "run show",
        "model list",
        "model show",
        "report",
        "report show",
    )
)
"""Print a document that says of itself what it is, of a collector's ledger as well."""

WITHOUT_FIGURES = frozenset({"flopmeter collector", "flopmeter doctor"})
"""Serve a ledger, or look at its storage only, and create or read none before."""


def marked(command: click.Command) -> click.Command:
    """Mark a command, or those of a group."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            marked(each)
    names = {parameter.name for parameter in command.params}
    callback = command.callback
    if callback is not None and "ledger" in names and not isinstance(callback, _Marking):
        command.callback = _Marking(callback)
    return command


@dataclass(frozen=True)
class _Marking:
    """A command's function, and the mark before what it prints."""

    callback: Callable[..., Any]

    def __call__(self, *context: Any, **given: Any) -> Any:
        """Serve the command."""
        here, url = click.get_current_context(), given.get("ledger")
        if url is None or here.command_path in WITHOUT_FIGURES:
            return self.callback(*context, **given)
        quiet = given.get("as_json") or here.command_path in MARK_THEMSELVES
        before = simulated(url)
        here.meta[SIMULATED_KEY] = before
        if before and not quiet:
            click.secho(MARK, bold=True)
        done = self.callback(*context, **given)
        if before is None and not quiet and simulated(url):
            click.secho(MARK, bold=True)
        return done


def simulated(url: str) -> bool | None:
    """Whether a ledger is simulated; None where none can be read, as the command will say."""
    from flopmeter_collector import backends

    try:
        with closing(backends.read(url)) as ledger:
            return ledger.simulated
    except FlopmeterError:
        return None
