"""`flopmeter model`: say where a model came from and what no agent saw; show what it is made of.

Owns: the commands' arguments.
May touch: one ledger (through the lab), or one HTTP request; a source's file; the user's name.
Called by the command line; the work is lab.modelling's and lab.details_view's.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli import lists
from flopmeter.cli.declaring import declaring, given, remark, rules_in, say, who
from flopmeter.cli.details import details_options, show
from flopmeter.cli.ruling import COMMANDS
from flopmeter_core.errors import UsageError


@click.group("model")
def command() -> None:
    """Say what a model is made of, and show it."""


for _command in COMMANDS:
    command.add_command(_command)

command.add_command(lists.models)

_UNDO = click.option("--undo", is_flag=True, help="Take it back.")


@command.command("add-parent")
@click.argument("model")
@click.option("--parent", metavar="MODEL", required=True, help="The model it came from.")
@click.option(
    "--edge", metavar="EDGE", default="weights", show_default=True,
    help="How: weights, merge, init or distilled_from.",
)  # fmt: skip
@_UNDO
@declaring()
def add_parent(
    model: str,
    parent: str,
    edge: str,
    undo: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare that MODEL came from another one; its total then holds that one's work."""
    body = given(parent=parent, edge=edge, state=_state(undo), reason=reason)
    verb = "did not come" if undo else "came"
    _declare(
        ledger, folder, "parent", model, body, author, as_json, f"{verb} from {parent} by {edge}"
    )


@command.command("add-external")
@click.argument("model")
@click.option("--entry", metavar="NAME", help="Its name.  [default: the source's file name]")
@click.option("--lower", metavar="FLOP", required=True, help="At least, in FLOP, e.g. 1e24.")
@click.option("--best", metavar="FLOP", required=True, help="Most likely.")
@click.option("--upper", metavar="FLOP", required=True, help="At most.")
@click.option("--activity", metavar="CLASS", help="What was done.")
@click.option("--disposition", metavar="CLASS", help="What became of the result.")
@click.option("--data-visibility", metavar="CLASS", help="non_public, public or unknown.")
@click.option(
    "--period", metavar="FROM..UNTIL", required=True, help="When, e.g. 2026-01-01..2026-02-01."
)
@click.option("--party", metavar="NAME", required=True, help="Who computed.")
@click.option("--source", type=click.Path(path_type=Path), required=True, help="File that says so.")
@declaring()
def add_external(
    model: str,
    entry: str | None,
    lower: str,
    best: str,
    upper: str,
    activity: str | None,
    disposition: str | None,
    data_visibility: str | None,
    period: str,
    party: str,
    source: Path,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare compute of MODEL that no agent saw; the SHA-256 of the source is kept."""
    from flopmeter.lab.modelling import add_external as add
    from flopmeter.lab.overlaps import same_source
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    since, dots, until = period.partition("..")
    if not (since and dots and until):
        raise UsageError(
            f"--period {period[:80]!r} names no two days; write it as 2026-01-01..2026-02-01"
        )
    body = given(
        entry=entry,
        lower=lower,
        best=best,
        upper=upper,
        activity=activity,
        disposition=disposition,
        data_visibility=data_visibility,
        from_=since,
        until=until,
        party=party,
        reason=reason,
    )
    written = add(
        ledger,
        model,
        body,
        source,
        author=who(author),
        clock=SystemClock(),
        profiles=rules,
    )
    entry = written.body["entry"]
    text = f"model {model} has the external entry {entry} of {best} FLOP"
    say(written, text, as_json=as_json, ledger=ledger, rules=rules)
    remark(same_source(ledger, model, entry, profiles=rules))


@command.command("remove-external")
@click.argument("model")
@click.option("--entry", metavar="NAME", required=True, help="Which.")
@declaring()
def remove_external(
    model: str,
    entry: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Take an external entry of MODEL back; both rows stay in the ledger."""
    body = given(entry=entry, state=_state(True), reason=reason)
    _declare(
        ledger, folder, "external", model, body, author, as_json, f"has no external entry {entry}"
    )


@command.command("party")
@click.argument("model")
@click.option("--party", metavar="NAME", required=True, help="Who.")
@click.option(
    "--role", metavar="ROLE", required=True,
    help="provider, developer, modifier, compute_provider, data_provider or other.",
)  # fmt: skip
@_UNDO
@declaring()
def party(
    model: str,
    party: str,
    role: str,
    undo: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare what a party did for MODEL."""
    body = given(party=party, role=role, state=_state(undo), reason=reason)
    verb = "is not" if undo else "is"
    _declare(ledger, folder, "party", model, body, author, as_json, f": {party} {verb} {role}")


@command.command("complete")
@click.argument("model")
@click.option("--complete", metavar="ANSWER", required=True, help="yes, no or unknown.")
@click.option("--statement", metavar="TEXT", required=True, help="What is in it, what is not.")
@declaring()
def complete(
    model: str,
    complete: str,
    statement: str,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """State whether MODEL's runs, parents and external entries are everything."""
    body = given(complete=complete, statement=statement, reason=reason)
    _declare(
        ledger, folder, "completeness", model, body, author, as_json, f"is complete: {complete}"
    )


@command.command("plan")
@click.argument("model")
@click.option("--lower", metavar="FLOP", help="At least, in FLOP in all, e.g. 1e25.")
@click.option("--best", metavar="FLOP", help="Most likely.")
@click.option("--upper", metavar="FLOP", help="At most.")
@click.option("--from", "since", metavar="TIME", help="When it begins (ISO).")
@click.option("--until", metavar="TIME", help="When it is to end (ISO).")
@_UNDO
@declaring()
def plan(
    model: str,
    lower: str | None,
    best: str | None,
    upper: str | None,
    since: str | None,
    until: str | None,
    undo: bool,
    ledger: str,
    folder: Path,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """State what MODEL is meant to take in all, before its first run or later."""
    body = given(
        lower=lower,
        best=best,
        upper=upper,
        from_=since,
        until=until,
        state=_state(undo),
        reason=reason,
    )
    if not undo and not (since and until):
        raise UsageError("a plan has a beginning and an end; give --from and --until")
    text = "has no plan any more" if undo else f"is planned to take {best} FLOP until {until}"
    _declare(ledger, folder, "plan", model, body, author, as_json, text, new=True)


@command.command("show")
@click.argument("model")
@details_options
def show_model(
    model: str, collector: str | None, ledger: str | None, folder: Path, as_json: bool
) -> None:
    """Show what MODEL's total is made of, and what stands beside it."""
    show("model", model, collector, ledger, folder, as_json=as_json)


def _state(undo: bool) -> str:
    return "undone" if undo else "stands"


def _declare(
    ledger: str,
    folder: Path,
    kind: str,
    model: str,
    body: dict[str, str],
    author: str | None,
    as_json: bool,
    text: str,
    *,
    new: bool = False,
) -> None:
    from flopmeter.lab.modelling import declare_model
    from flopmeter_proto.daemon.clock import SystemClock

    rules = rules_in(folder)
    written = declare_model(
        ledger,
        kind,
        model,
        body,
        author=who(author),
        clock=SystemClock(),
        new=new,
        profiles=rules,
    )
    say(written, f"model {model} {text}", as_json=as_json, ledger=ledger, rules=rules)
