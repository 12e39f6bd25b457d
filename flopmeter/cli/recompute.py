"""`flopmeter recompute`: evaluate a ledger's past again, with a record of old and new.

Owns: the command's arguments.
May touch: one ledger (through the lab); the clock and the user's name.
Called by the command line; the figures and the audit row are made by lab.recompute.
"""

from __future__ import annotations

import getpass
from typing import Any

import click

from flopmeter.cli.output import console, json_option, print_json


@click.command("recompute")
@click.option("--ledger", metavar="URL", required=True, help="Ledger to evaluate.")
@click.option("--method-version", metavar="V", help="Version of the estimate.  [default: newest]")
@click.option(
    "--as-of",
    type=int,
    metavar="SEQ",
    help="Last declaration that counts, 0 for none.  [default: the newest]",
)
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option("--author", help="Who asks.  [default: the user's name]")
@json_option
def command(
    ledger: str,
    method_version: str | None,
    as_of: int | None,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Evaluate a ledger's past again; old and new figures are both kept.

    Each call adds one row to the ledger's audit log.
    """
    from flopmeter.lab.recompute import recompute
    from flopmeter_proto.daemon.clock import SystemClock

    document: Any = recompute(
        ledger,
        method_version=method_version,
        as_of=as_of,
        author=author or getpass.getuser(),
        reason=reason,
        clock=SystemClock(),
    )
    if as_json:
        print_json(document)
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing(
        "run", Column("before (best FLOP)", right=True), Column("after (best FLOP)", right=True)
    )
    for run in document["runs"]:
        sides = (run["before"], run["after"])
        table.add(run["run"], *(s["compute_flop_str"]["best"] if s else "-" for s in sides))
    out = console()
    out.print(table)
    before = document["before"]
    source = (
        f"before is of audit {before['audit']}"
        if before["audit"]
        else "before is without any declaration"
    )
    out.print(
        f"audit {document['audit']}: method {document['method_version']}, declarations up to "
        f"{document['as_of_declaration']}; {source}"
    )
