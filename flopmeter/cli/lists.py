"""`flopmeter run list` and `flopmeter model list`: one line each, largest first.

Owns: the commands' arguments and what they print.
May touch: one HTTP request or one ledger (through the lab); standard output.
Called by `flopmeter run` and `flopmeter model`; the rows are lab.listed's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import source_options, totals_of

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

_MATCH = click.option("--match", metavar="GLOB", help="Only names that fit, or the one of this id.")
_WAITING = click.option("--waiting", is_flag=True, help="Only what waits for people.")
_SORT = click.option(
    "--sort", type=click.Choice(["flop", "name"]), default="flop", show_default=True,
    help="Largest first, or by name.",
)  # fmt: skip


@click.command("list")
@_MATCH
@click.option("--model", metavar="MODEL", help="Only runs of this model.")
@click.option("--undeclared", is_flag=True, help="Only runs without a declared format or label.")
@_WAITING
@_SORT
@source_options
@json_option
def runs(
    match: str | None,
    model: str | None,
    undeclared: bool,
    waiting: bool,
    sort: str,
    collector: str | None,
    ledger: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """List the runs with their model, compute and label."""
    from flopmeter.lab.listed import run_rows

    document: Any = totals_of(collector, ledger, folder)
    rows = run_rows(
        document, match=match, model=model, undeclared=undeclared, waiting=waiting, sort=sort
    )
    if as_json:
        print_json(_of(document, "runs", rows))
    else:
        from flopmeter.lab.listed import runs_listing

        _print(document, runs_listing(rows) if rows else None, "runs")


@click.command("list")
@_MATCH
@click.option("--line", metavar="ID", help="The line whose share and state are shown.")
@click.option("--state", metavar="STATE", help="Only models in this state against that line.")
@_WAITING
@_SORT
@source_options
@json_option
def models(
    match: str | None,
    line: str | None,
    state: str | None,
    waiting: bool,
    sort: str,
    collector: str | None,
    ledger: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """List the models with their compute and how near they are to a line."""
    from flopmeter.lab.listed import model_rows

    document: Any = totals_of(collector, ledger, folder)
    rows = model_rows(document, match=match, line=line, state=state, waiting=waiting, sort=sort)
    if as_json:
        print_json(_of(document, "models", rows))
    else:
        from flopmeter.lab.listed import models_listing

        _print(document, models_listing(rows) if rows else None, "models")


def _of(document: Any, what: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": 1,
        "as_of": document["as_of"],
        "simulated": document["simulated"],
        "ledger": document["ledger"],
        what: rows,
    }


def _print(document: Any, table: object | None, what: str) -> None:
    out = console()
    if document["simulated"]:
        out.print("SIMULATED: every figure here is made up")
    out.print(table if table is not None else f"no {what} fit")
