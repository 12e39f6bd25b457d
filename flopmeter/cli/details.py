"""The arguments of commands that show one run or one model, and where they get it from.

Owns: the options, and the choice of the one row out of the totals document.
May touch: one HTTP request or one ledger (through the lab); standard output.
Called by `flopmeter run show` and `flopmeter model show`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import COLLECTOR_URL, totals_of
from flopmeter.cli.thresholds_options import folder_option
from flopmeter_core.errors import UsageError

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


def details_options(command: AnyCommand) -> AnyCommand:
    """Where the totals come from, and how they are printed."""
    for option in (
        json_option,
        folder_option,
        click.option("--ledger", metavar="URL", help="Read this ledger, not a collector."),
        click.option("--collector", metavar="URL", help=f"HTTP.  [default: {COLLECTOR_URL}]"),
    ):
        command = option(command)
    return command


def show(
    kind: str,
    name: str,
    collector: str | None,
    ledger: str | None,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Print one run or model.

    Args:
        kind: ``run`` or ``model``.
        name: which, by its id in metrics as well; a run by either of its names.
        collector: HTTP address of a collector, or None.
        ledger: URL of a ledger, or None.
        folder: of threshold files, for a ledger.
        as_json: whether for machines.

    Raises:
        UsageError: nothing has that name.
    """
    document: Any = totals_of(collector, ledger, folder)
    found = [
        row
        for row in document[f"{kind}s"]
        if name in (row[kind], row.get("name"), row["metrics_id"])
    ]
    if not found:
        raise UsageError(f"no {kind} is named {name!r}; `flopmeter {kind} list` lists them")
    could_add = document["unattributed"]["could_add_up_to_flop_str"]
    numbers = set(found[0]["lowerings"])
    lowerings = [row for row in document["lowerings"] if row["declaration"] in numbers]
    if as_json:
        print_json(
            {
                "schema": 1,
                "as_of": document["as_of"],
                "ledger": document["ledger"],
                kind: found[0],
                "unattributed_could_add_up_to_flop_str": could_add,
                "lowerings": lowerings,
            }
        )
        return
    from flopmeter.lab.details_view import model_view, run_view

    view = run_view if kind == "run" else model_view
    out = console()
    for line in view(found[0], could_add=int(could_add), lowerings=lowerings):
        out.print(line)
