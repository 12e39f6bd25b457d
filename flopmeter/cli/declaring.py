"""The arguments that all declaring commands share, and how they say what was written.

Owns: the options of ledger, author and reason, and the one line after a declaration.
May touch: the user's name; standard output.
Called by the commands that write a declaration.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter.cli.thresholds_options import folder_option

if TYPE_CHECKING:
    from flopmeter_collector.ledger.base import Declaration
    from flopmeter_collector.worth import Profiles

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

ledger_option = click.option("--ledger", metavar="URL", required=True, help="Ledger to use.")


def declaring(*, reason: bool = False) -> Callable[[AnyCommand], AnyCommand]:
    """Give a command the options of ledger, law, reason, author and JSON.

    Args:
        reason: whether it has to say why.
    """

    def decorate(command: AnyCommand) -> AnyCommand:
        for option in (
            json_option,
            click.option("--author", help="Who states it.  [default: the user's name]"),
            click.option("--reason", required=reason, default="", help="Why."),
            folder_option,
            ledger_option,
        ):
            command = option(command)
        return command

    return decorate


def who(author: str | None) -> str:
    """The author as given, else the name of the user of this system."""
    return author or getpass.getuser()


def given(**fields: str | None) -> dict[str, str]:
    """The fields that were given; a trailing underscore of a name is dropped."""
    return {name.rstrip("_"): text for name, text in fields.items() if text is not None and text}


def rules_in(folder: Path) -> Profiles | None:
    """The counting profiles of a folder of threshold files, which decide what waits for people."""
    from flopmeter.lab.stating import site_profiles

    return site_profiles(folder)


def say(
    written: Declaration,
    sentence: str,
    *,
    as_json: bool,
    ledger: str | None = None,
    rules: Profiles | None = None,
) -> None:
    """Tell what was written: one line, or the declaration as JSON.

    Args:
        written: the declaration.
        sentence: what it says.
        as_json: whether for machines.
        ledger: where it was written; whether it waits for people is told then, on standard error.
        rules: the profiles that decide it.
    """
    waits, found = "", None
    if ledger is not None:
        from flopmeter.lab.declaring import waiting

        found = waiting(ledger, written.sequence, profiles=rules)
        if found is not None:
            waits = found.says
            click.echo(f"flopmeter: {found.sentence}", err=True)
    if as_json:
        print_json(
            {
                "schema": 1,
                "sequence": written.sequence,
                "kind": written.kind,
                "subject": written.subject,
                **({"run": written.subject} if written.kind == "run" else {}),
                "author": written.author,
                "source": written.source,
                "declared": dict(written.body),
                "waits_for_approval": bool(waits),
            }
        )
    else:
        told = f"once approved, {sentence}" if found is not None and found.whole else sentence
        click.echo(f"declaration {written.sequence}: {told}")


def remark(sentence: str) -> None:
    """Tell on standard error what stands beside a declaration; nothing where there is nothing."""
    if sentence:
        click.echo(f"flopmeter: {sentence}", err=True)
