"""`flopmeter approve`: decide on statements that lower a legal total.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); the clock and the user's name.
Called by the command line; the work is lab.approving's. docs/runs-and-models.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopmeter.cli.declaring import declaring, ledger_option, rules_in, say, who
from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import folder_option


@click.group("approve")
def command() -> None:
    """Decide on statements that lower a legal total."""


@command.command("list")
@ledger_option
@folder_option
@json_option
def list_lowerings(ledger: str, folder: Path, as_json: bool) -> None:
    """List every statement that lowers or would lower a legal total."""
    from flopmeter.lab.approving import lowerings

    found: Any = lowerings(ledger, profiles=rules_in(folder))
    if as_json:
        print_json({"schema": 1, "lowerings": found})
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing(
        "number",
        "of",
        "what would hold",
        Column("lowers", aside=3),
        Column("by", aside=2),
        "state",
        Column("behind it", aside=1),
    )
    for row in found:
        place = f" ({row['place']})" if row["place"] else ""
        rules = "".join(f"; later by rule {each['match']}" for each in row["rules"])
        people = ", ".join(each["person"] for each in row["people"])
        table.add(
            str(row["declaration"]),
            row["subject"],
            row["label"] + place + rules,
            ", ".join(row["models"]) or "-",
            row["author"],
            row["state"],
            people or "-",
        )
    console().print(table if found else "nothing lowers a legal total")


@command.command("give")
@click.argument("number")
@declaring(reason=True)
def give(
    number: str, ledger: str, folder: Path, reason: str, author: str | None, as_json: bool
) -> None:
    """Stand behind declaration NUMBER; with two people it holds."""
    _decide(number, ledger, folder, reason, author, as_json, given=True)


@command.command("refuse")
@click.argument("number")
@declaring(reason=True)
def refuse(
    number: str, ledger: str, folder: Path, reason: str, author: str | None, as_json: bool
) -> None:
    """Refuse declaration NUMBER; it moves no total, and stays listed."""
    _decide(number, ledger, folder, reason, author, as_json, given=False)


def _decide(
    number: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
    *,
    given: bool,
) -> None:
    from flopmeter.lab.approving import decide
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written, label = decide(
        ledger,
        number,
        given=given,
        reason=reason,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    people: Any = label["people"]
    say(
        written,
        f"declaration {number} ({label['label']}) is {label['state']}, with {len(people)} of 2 "
        "people behind it",
        as_json=as_json,
    )
