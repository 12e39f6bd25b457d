"""`flopmeter ledger`: check, copy, put back, hold, and what was done or is in quarantine.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); the clock and the user's name; a copy's file.
Called by the command line; the work is the lab's (`lab.ledger_...`). docs/ledger.md.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import folder_option

ledger_option = click.option("--ledger", metavar="URL", required=True, help="The ledger.")
author_option = click.option("--author", help="Who does it.  [default: the user's name]")
reason_option = click.option("--reason", required=True, help="Why, for the audit log.")


def acting(command_: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every act on a ledger."""
    return ledger_option(reason_option(author_option(json_option(command_))))


@click.group("ledger")
def command() -> None:
    """Check, copy and put back a ledger.

    Also: what was done to it, what is in quarantine, what was forked, and legal holds.
    """


@command.group("quarantine")
def quarantine() -> None:
    """Vectors that cannot be true, kept apart from every total."""


@quarantine.command("list")
@ledger_option
@click.option("--all", "everything", is_flag=True, help="Also what was found untrue.")
@json_option
def list_quarantine(ledger: str, everything: bool, as_json: bool) -> None:
    """List what is in quarantine, and what was released from it."""
    from flopmeter.lab.ledger_quarantine import REJECTED, quarantine_rows

    found = quarantine_rows(ledger)
    rows = [row for row in found if everything or row["state"] != REJECTED]
    if as_json:
        print_json({"schema": 1, "quarantine": rows})
        return
    _table(rows, ("name", "state", "node", "device", "allocation", "sequence", "reason"))
    if len(rows) < len(found):
        click.echo(f"{len(found) - len(rows)} found untrue: --all lists them too")


@quarantine.command("release")
@click.argument("name")
@acting
def release_quarantine(
    name: str, ledger: str, reason: str, author: str | None, as_json: bool
) -> None:
    """Accept the quarantined vector NAME into the totals.

    A serving collector takes it within about a second. A later vector of the same register has
    another name, and is quarantined again if it cannot be true either.
    """
    from flopmeter.lab.ledger_quarantine import release
    from flopmeter_proto.daemon.clock import SystemClock

    written = release(ledger, name, author=_author(author), reason=reason, clock=SystemClock())
    if as_json:
        print_json(written)
    else:
        click.echo(
            f"declaration {written['declaration']}: {written['name']} is released at sequence "
            f"{written['sequence']}"
        )


@quarantine.command("reject")
@click.argument("name")
@acting
def reject_quarantine(
    name: str, ledger: str, reason: str, author: str | None, as_json: bool
) -> None:
    """Say that the quarantined vector NAME is untrue.

    It stays in the ledger and in no total, and is no longer counted, listed or alerted as waiting;
    it may still be released. A later vector of the same register has another name and waits again.
    """
    from flopmeter.lab.ledger_quarantine import reject
    from flopmeter_proto.daemon.clock import SystemClock

    written = reject(ledger, name, author=_author(author), reason=reason, clock=SystemClock())
    if as_json:
        print_json(written)
    else:
        click.echo(
            f"declaration {written['declaration']}: {written['name']} is rejected at sequence "
            f"{written['sequence']}; it stays in the ledger and in no total"
        )


@command.group("fork")
def fork() -> None:
    """Registers that two writers used; both histories are kept."""


@fork.command("list")
@ledger_option
@json_option
def list_forks(ledger: str, as_json: bool) -> None:
    """List the branches of every forked register.

    Floor and lower take the least branch, best the greatest, upper and ceiling the sum.
    """
    from flopmeter.lab.ledger_acts import forks

    rows = forks(ledger)
    if as_json:
        print_json({"schema": 1, "branches": rows})
    else:
        _table(rows, ("name", "branch", "node", "device", "allocation", "sequence"))


@command.group("hold")
def hold() -> None:
    """Legal holds: hours that are never thinned, whatever their age."""


@hold.command("add")
@click.argument("subject")
@acting
def add_hold(subject: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """Hold SUBJECT: run:NAME, model:NAME, or all."""
    _hold(subject, ledger, reason, author, as_json, stands=True)


@hold.command("release")
@click.argument("subject")
@acting
def release_hold(subject: str, ledger: str, reason: str, author: str | None, as_json: bool) -> None:
    """End the hold on SUBJECT."""
    _hold(subject, ledger, reason, author, as_json, stands=False)


@hold.command("list")
@ledger_option
@json_option
def list_holds(ledger: str, as_json: bool) -> None:
    """List the holds that stand."""
    from flopmeter.lab.ledger_acts import holds

    rows = holds(ledger)
    if as_json:
        print_json({"schema": 1, "holds": rows})
    else:
        _table(rows, ("subject", "since", "author", "reason"))


@command.command("verify")
@ledger_option
@json_option
def verify_ledger(ledger: str, as_json: bool) -> int:
    """Check that a ledger is whole; nothing in it is changed.

    Exit code 0 when it is, 1 with one line for each finding when it is not.
    """
    from flopmeter.lab.ledger_check import verify

    findings = verify(ledger)
    if as_json:
        print_json({"schema": 1, "whole": not findings, "findings": findings})
    else:
        _say_findings(findings, "the ledger is whole")
    return int(bool(findings))


@command.command("rebuild")
@ledger_option
@folder_option
@json_option
def rebuild_ledger(ledger: str, folder: Path, as_json: bool) -> int:
    """Compute all totals and states anew and hold them against what is recorded.

    Exit code 0 when everything is the same bit for bit, 1 with one line for each difference.
    """
    from flopmeter.lab.ledger_check import rebuild
    from flopmeter_collector.site import thresholds_in_force
    from flopmeter_proto.daemon.clock import SystemClock

    findings, document = rebuild(
        ledger, thresholds_in_force(folder), law_as_of_ns=SystemClock().wall_ns()
    )
    if as_json:
        print_json({"schema": 1, "same": not findings, "findings": findings, "totals": document})
    else:
        _say_findings(findings, "totals and states come out the same")
    return int(bool(findings))


@command.command("audit")
@ledger_option
@json_option
def list_audit(ledger: str, as_json: bool) -> None:
    """List what was done to the ledger's past: what, by whom, when and why.

    `flopmeter ledger verify` checks that no row was changed or removed.
    """
    from flopmeter.lab.ledger_acts import audit_rows

    rows = audit_rows(ledger)
    if as_json:
        print_json({"schema": 1, "audit": rows})
    else:
        shown = ("number", "recorded_at", "action", "subject", "author", "reason")
        _table(({each: row[each] or "-" for each in shown} for row in rows), shown)


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path))
@ledger_option
@json_option
def back_up_ledger(target: Path, ledger: str, as_json: bool) -> None:
    """Copy a ledger to the new file TARGET while a collector may serve it.

    A checksum is written beside it, as TARGET.sha256.
    """
    from flopmeter.lab.ledger_acts import back_up

    copy = back_up(ledger, target)
    if as_json:
        print_json(copy)
    else:
        click.echo(
            f"{copy['path']}: {copy['size_bytes']} bytes, commit {copy['commit_number']}, "
            f"SHA-256 {copy['sha256']}"
        )


@command.command("restore")
@click.argument("source", type=click.Path(path_type=Path))
@acting
def restore_ledger(
    source: Path, ledger: str, reason: str, author: str | None, as_json: bool
) -> None:
    """Put the backup SOURCE in the place of a ledger that is gone.

    Nothing is written over. The ledger begins a generation of its own, so that agents send again
    what they have.
    """
    from flopmeter.lab.ledger_acts import restore
    from flopmeter_proto.daemon.clock import SystemClock

    copy = restore(source, ledger, author=_author(author), reason=reason, clock=SystemClock())
    if as_json:
        print_json(copy)
        return
    click.echo(f"{copy['path']}: restored at commit {copy['commit_number']}")
    if not copy["checksum_was_given"]:
        click.echo(f"no checksum lies beside {source}; only its pages were checked")
    click.echo(copy["note"])


def _hold(
    subject: str, ledger: str, reason: str, author: str | None, as_json: bool, *, stands: bool
) -> None:
    from flopmeter.lab.ledger_acts import hold as declare_hold
    from flopmeter_proto.daemon.clock import SystemClock

    written = declare_hold(
        ledger,
        subject,
        stands=stands,
        author=_author(author),
        reason=reason,
        clock=SystemClock(),
    )
    if as_json:
        print_json(written)
    else:
        what = "held" if stands else "no longer held"
        click.echo(f"declaration {written['declaration']}: {subject} is {what}")
    if stands and not written["known"]:
        click.echo(
            f"flopmeter: nothing of {subject} is in the ledger yet, so nothing is held until it "
            "is; check the name",
            err=True,
        )


def _author(author: str | None) -> str:
    return author or getpass.getuser()


def _say_findings(findings: Iterable[str], whole: str) -> None:
    said = list(findings)
    for finding in said or [whole]:
        click.echo(finding)


def _table(rows: Iterable[Any], columns: tuple[str, ...]) -> None:
    from flopmeter.lab.listing import Column, Listing

    # From the right: what stands last is told last.
    first, *others = columns
    asides = range(len(others), 0, -1)
    table = Listing(
        first, *(Column(name, aside=at) for name, at in zip(others, asides, strict=True))
    )
    for row in rows:
        table.add(*(str(row[column]) for column in columns))
    if len(table):
        console().print(table)
    else:
        click.echo("there is none")
