"""`flopmeter role`: who may stand behind what lowers a legal total.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); the clock and the user's name.
Called by the command line; the work is lab.approving's. docs/security.md says what a role proves.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.declaring import declaring, ledger_option, rules_in, say, who
from flopmeter.cli.output import json_option, print_json


@click.group("role")
def command() -> None:
    """Give and list the roles that decide on what lowers a legal total."""


_ROLE = click.option("--role", metavar="ROLE", required=True, help="owner or compliance.")


@command.command("grant")
@click.argument("person")
@_ROLE
@declaring(reason=True)
def grant(
    person: str,
    role: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Give PERSON a role; the first one is the role owner, given to oneself."""
    _set(person, role, ledger, folder, reason, author, as_json, granted=True)


@command.command("revoke")
@click.argument("person")
@_ROLE
@declaring(reason=True)
def revoke(
    person: str,
    role: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Take a role from PERSON; what they stood behind before stays."""
    _set(person, role, ledger, folder, reason, author, as_json, granted=False)


@command.command("list")
@ledger_option
@json_option
def list_people(ledger: str, as_json: bool) -> None:
    """List who has which roles."""
    from flopmeter.lab.approving import people

    found = people(ledger)
    if as_json:
        print_json({"schema": 1, "people": found})
        return
    for row in found:
        roles = row["roles"]
        assert isinstance(roles, list)
        click.echo(f"{row['person']}: {', '.join(roles)}")
    if not found:
        click.echo("nobody has a role")


def _set(
    person: str,
    role: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
    *,
    granted: bool,
) -> None:
    from flopmeter.lab.approving import set_role
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written = set_role(
        ledger,
        person,
        role,
        granted=granted,
        reason=reason,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    say(
        written,
        f"{person} {'has' if granted else 'no longer has'} the role {role}",
        as_json=as_json,
    )
