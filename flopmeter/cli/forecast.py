"""`flopmeter forecast`: when each model will be above each threshold.

Owns: the command's arguments and the form of its JSON.
May touch: one HTTP request or one ledger (through the lab); standard output.
Called by the command line; docs/forecast.md says what the dates rest on.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.sources import source_options, totals_of
from flopmeter_core.errors import UsageError


@click.command("forecast")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@source_options
@json_option
def command(
    models: tuple[str, ...],
    collector: str | None,
    ledger: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Show when each model will be above each threshold; only the MODELs where some are named.

    Earliest to latest claims to hold the true date with a probability of 90 % where it rests on
    the model's pace. Exit code 0; 69 when no collector answers.
    """
    document = totals_of(collector, ledger, folder)
    known = {row[name] for row in document["models"] for name in ("model", "metrics_id")}
    if unknown := sorted(set(models) - known):
        raise UsageError(
            f"there is no model {unknown[0]!r}; `flopmeter totals` has the names of all models"
        )
    shown = [
        row
        for row in document["models"]
        if not models or {row["model"], row["metrics_id"]} & set(models)
    ]
    if as_json:
        print_json(
            {
                "schema": 1,
                "as_of": document["as_of"],
                "simulated": document["simulated"],
                "models": [
                    {"model": row["model"], "thresholds": row["thresholds"]} for row in shown
                ],
            }
        )
        return
    from flopmeter.lab.legal_view_text import forecast_view

    console().print(forecast_view(document, shown))
