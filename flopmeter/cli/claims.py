"""`flopmeter run claims` and `flopmeter run adopt`: what training processes say of their run.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); the clock and the user's name.
Called by `flopmeter run`; the work is lab.adopting's. docs/sdk.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopmeter.cli.declaring import declaring, ledger_option, rules_in, say, who
from flopmeter.cli.output import console, json_option, print_json


@click.command("claims")
@click.argument("run", required=False)
@ledger_option
@json_option
def claims(run: str | None, ledger: str, as_json: bool) -> None:
    """List what processes claim of RUN, or of every run, and what was declared instead."""
    from flopmeter.lab.adopting import claimed

    found: Any = claimed(ledger, run)
    if as_json:
        print_json({"schema": 1, "claims": found})
        return
    if not found:
        click.echo("no process claims what its run is")
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing("run", "field", "claimed", Column("processes", aside=1, right=True), "declared")
    for row in found:
        table.add(
            row["run"],
            row["field"],
            row["claimed"],
            str(row["processes"]),
            row["declared"] or "nothing",
        )
    console().print(table)


@click.command("adopt")
@click.argument("run")
@click.option("--model", is_flag=True, help="Adopt the model.")
@click.option("--activity", is_flag=True, help="Adopt the activity.")
@click.option("--format", "formats", is_flag=True, help="Adopt the number formats.")
@declaring(reason=True)
def adopt(
    run: str,
    model: bool,
    activity: bool,
    formats: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare of RUN what its processes claim; what lowers a legal total waits for people."""
    from flopmeter.lab.adopting import adopt as adopted
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    named = {"model": model, "activity": activity, "format": formats}
    fields = [field for field, wanted in named.items() if wanted]
    written = adopted(
        ledger,
        run,
        fields,
        reason=reason,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    stated = ", ".join(f"{field} {written.body[field]}" for field in fields)
    say(
        written,
        f"run {written.subject} is {stated}",
        as_json=as_json,
        ledger=ledger,
        rules=rules,
    )


COMMANDS = (claims, adopt)
"""In the order of the help page."""
