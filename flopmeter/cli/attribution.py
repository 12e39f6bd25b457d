"""`flopmeter run attach` and its neighbours: say whose work is whose.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); the clock and the user's name.
Called by `flopmeter run`; the work is lab.attributing's. docs/runs-and-models.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flopmeter.cli.declaring import declaring, given, ledger_option, remark, rules_in, say, who
from flopmeter.cli.output import console, json_option, print_json

_SINCE = click.option("--from", "since", metavar="TIME", help="From this time on (ISO).")
_UNTIL = click.option("--until", metavar="TIME", help="Until this time, exclusive (ISO).")
_ALLOCATION = click.option("--allocation", metavar="NAME", help="One allocation.")
_MATCH = click.option(
    "--match", metavar="GLOB", help="Every allocation that fits, those to come as well."
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would move; write nothing.")


@click.command("attach")
@click.argument("run")
@_ALLOCATION
@_MATCH
@_SINCE
@_UNTIL
@_DRY_RUN
@declaring()
def attach(run: str, dry_run: bool, **options: Any) -> None:
    """Declare that work of allocations which name no run belongs to RUN, for the past as well.

    Times cut where hours are recorded; without them the whole allocation belongs to it.
    """
    _attach(run, stands=True, dry_run=dry_run, **options)


@click.command("detach")
@click.argument("run")
@_ALLOCATION
@_MATCH
@_SINCE
@_UNTIL
@_DRY_RUN
@declaring()
def detach(run: str, dry_run: bool, **options: Any) -> None:
    """Take back what attach said of RUN and the same allocation or pattern."""
    _attach(run, stands=False, dry_run=dry_run, **options)


def _attach(
    run: str,
    *,
    stands: bool,
    dry_run: bool,
    allocation: str | None,
    match: str | None,
    since: str | None,
    until: str | None,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    from flopmeter.lab import attributing
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    body = given(allocation=allocation, match=match, from_=since, until=until, reason=reason)
    by, clock = who(author), SystemClock()
    if dry_run:
        found = attributing.preview(ledger, run, body, stands=stands, clock=clock, profiles=rules)
        if as_json:
            print_json(found)
        else:
            _print_preview(found)
        return
    written = attributing.attach(
        ledger, run, body, stands=stands, author=by, clock=clock, profiles=rules
    )
    what = allocation or f"every allocation that fits {match}"
    verb = "belongs to" if stands else "does not belong to"
    say(
        written,
        f"{what} {verb} run {written.subject}",
        as_json=as_json,
        ledger=ledger,
        rules=rules,
    )
    if stands:
        from flopmeter.lab.overlaps import beside_attachment

        remark(beside_attachment(ledger, written, profiles=rules))


@click.command("allocations")
@ledger_option
@json_option
def allocations(ledger: str, as_json: bool) -> None:
    """List the allocations that were reported, whose they are, and what they hold."""
    from flopmeter.lab.attributing import allocations as listed
    from flopmeter_proto.daemon.clock import SystemClock

    document: Any = listed(ledger, SystemClock())
    if as_json:
        print_json(document)
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing("allocation", Column("best FLOP", right=True), "run", Column("by", aside=1))
    for row in document["allocations"]:
        runs = [*row["runs"], *([] if row["attributed"] else ["unattributed"])]
        told = ", before ".join(row["by"])
        table.add(row["allocation"], row["compute_flop_str"]["best"], ", ".join(runs), told)
    console().print(table)


@click.command("rename")
@click.argument("run")
@click.argument("name")
@declaring()
def rename(
    run: str, name: str, ledger: str, folder: Path, reason: str, author: str | None, as_json: bool
) -> None:
    """Declare that people know RUN as NAME; its own name stays what it is."""
    from flopmeter.lab import attributing
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written = attributing.rename(
        ledger,
        run,
        name,
        reason=reason,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    say(written, f"run {written.subject} is known as {name}", as_json=as_json)


_UNDO = click.option("--undo", is_flag=True, help="Take it back.")


@click.command("merge")
@click.argument("run")
@click.option("--into", metavar="RUN", required=True, help="Run that it is a part of.")
@_UNDO
@declaring()
def merge(
    run: str,
    into: str,
    undo: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare that all work of RUN is of another run.

    What was declared of RUN itself still holds for its work.
    """
    from flopmeter.lab import attributing
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written = attributing.merge(
        ledger,
        run,
        into,
        stands=not undo,
        reason=reason,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    verb = "is a run of its own again, not a part of" if undo else "is a part of"
    told = f"run {written.subject} {verb} run {written.body['into']}"
    say(written, told, as_json=as_json, ledger=ledger, rules=rules)


@click.command("split")
@click.argument("run")
@click.option("--into", metavar="RUN", required=True, help="New run that the part is.")
@_SINCE
@_UNTIL
@click.option("--phase", metavar="N", help="This phase only.")
@_UNDO
@declaring()
def split(
    run: str,
    into: str,
    since: str | None,
    until: str | None,
    phase: str | None,
    undo: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare that a part of RUN, by time or phase, is a run of its own.

    It keeps what was declared of RUN, its model included, until something else is declared of it.
    """
    from flopmeter.lab import attributing
    from flopmeter_collector.statements import parse_splitting
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written = attributing.split(
        ledger,
        run,
        into,
        given(from_=since, until=until, phase=phase, reason=reason),
        stands=not undo,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    verb = "belongs to it again, not to" if undo else "is"
    part = parse_splitting(written.subject, written.body).span.text
    told = f"the part of run {written.subject} ({part}) {verb} run {into}"
    say(written, told, as_json=as_json, ledger=ledger, rules=rules)


def _print_preview(document: Any) -> None:
    from flopmeter.lab.listing import Column, Listing
    from flopmeter_collector.rounding import round_flop

    out = console()
    count = document["allocation_count"]
    out.print(f"would move {count} allocation{'' if count == 1 else 's'}; nothing is written")
    for row in document["allocations"]:
        best = round_flop(int(row["compute_flop_str"]["best"]))
        out.print(f"  {row['allocation']}  {best} FLOP", markup=False)
    if document["waits_for_approval"]:
        out.print("it would lower a legal total: it would wait for two people")
    table = Listing("run", Column("before", right=True), Column("after", right=True))
    for row in document["changes"]:
        sides = [row[side] and str(round_flop(int(row[side]["best"]))) for side in _SIDES]
        table.add(row["run"] or "unattributed", *(side or "-" for side in sides))
    out.print(table if document["changes"] else "no figure would change")


_SIDES = ("before", "after")

COMMANDS = (attach, detach, allocations, rename, merge, split)
"""In the order of the help page."""
