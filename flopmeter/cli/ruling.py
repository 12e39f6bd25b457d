"""`flopmeter model condition` and `flopmeter model decide`: what people rule of a model.

Owns: the commands' arguments and what they print.
May touch: one ledger (through the lab); a file of evidence; the user's name.
Called by `flopmeter model`; the work is lab.ruling's. docs/rulings.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flopmeter.cli.declaring import declaring, say, who
from flopmeter_core.errors import UsageError

if TYPE_CHECKING:
    from flopmeter_collector.ledger.base import Declaration

_EVIDENCE = click.option(
    "--evidence", type=click.Path(path_type=Path), help="File it rests on; its SHA-256 is kept."
)


@click.command("condition")
@click.argument("model")
@click.argument("condition")
@click.option("--met", "word", flag_value="met", help="It holds.")
@click.option("--not-met", "word", flag_value="not_met", help="It does not: less applies.")
@click.option("--undo", "word", flag_value="undo", help="Take back what was declared.")
@_EVIDENCE
@declaring(reason=True)
def condition(
    model: str,
    condition: str,
    word: str | None,
    evidence: Path | None,
    folder: Path,
    ledger: str,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare whether MODEL meets CONDITION, which a law asks for beside a number.

    CONDITION is ROW/ID, as `flopmeter thresholds show ROW` lists them. One that is declared not to
    hold waits for two people with the role compliance.
    """
    if word is None:
        raise UsageError("say whether the condition holds: give --met, --not-met or --undo")
    from flopmeter.lab.ruling import declare_condition
    from flopmeter_collector.site import read_law
    from flopmeter_proto.daemon.clock import SystemClock

    written, waiting = declare_condition(
        ledger,
        model,
        condition,
        met={"met": True, "not_met": False}.get(word),
        reason=reason,
        evidence=evidence,
        law=read_law(folder),
        author=who(author),
        clock=SystemClock(),
    )
    body = written.body
    words = {"met": "met", "not_met": "not met", "undo": "not declared any more"}[word]
    text = f"condition {body['condition']} of {body['threshold']} is {words} for model {model}"
    _say(written, text, waiting, as_json=as_json)


@click.command("decide")
@click.argument("model")
@click.option("--profile", metavar="ID", required=True, help="Counting profile that permits it.")
@click.option(
    "--leave-out", "words", metavar="WORK", multiple=True,
    help="recomputation, parent:EDGE, or ACTIVITY[/DISPOSITION[/VISIBILITY]]; may be repeated.",
)  # fmt: skip
@click.option("--withdraw", is_flag=True, help="Take the decision back: everything counts.")
@click.option("--date", metavar="DATE", required=True, help="The day of the decision.")
@_EVIDENCE
@declaring(reason=True)
def decide(
    model: str,
    profile: str,
    words: tuple[str, ...],
    withdraw: bool,
    date: str,
    evidence: Path | None,
    folder: Path,
    ledger: str,
    reason: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Record a decision to use, for MODEL, exclusions that a counting profile permits.

    States, forecasts, alerts and reports then rest on the smaller total; both are always shown.
    It waits for two people with the role compliance.
    """
    from flopmeter.lab.ruling import decide as record
    from flopmeter_collector.site import read_law
    from flopmeter_proto.daemon.clock import SystemClock

    written, waiting = record(
        ledger,
        model,
        profile,
        words,
        date=date,
        reason=reason,
        evidence=evidence,
        law=read_law(folder),
        author=who(author),
        clock=SystemClock(),
        withdraw=withdraw,
    )
    left = "nothing" if withdraw else written.body["leave_out"]
    _say(written, f"{profile} leaves {left} out for model {model}", waiting, as_json=as_json)


def _say(written: Declaration, sentence: str, waiting: str, *, as_json: bool) -> None:
    if waiting:
        click.echo(f"flopmeter: {waiting}", err=True)
    say(written, f"once approved, {sentence}" if waiting else sentence, as_json=as_json)


COMMANDS = (condition, decide)
"""In the order of the help page."""
