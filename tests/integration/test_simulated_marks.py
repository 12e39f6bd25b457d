"""Nothing that a command, the page or a report says of a simulated ledger is without its mark."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flopmeter import cli
from flopmeter.cli import main, marks
from flopmeter_core.reports import KeyedVector
from support.collector import running
from support.totals import busy_vector, h100, key_of

CROSSED_S, DEVICES = 400_000_000, 100
"""Busy seconds of each of so many devices that are above a line whose crossing opens a review."""

WHY = " --reason told --author ada"
CALLS = {
    "totals": "",
    "forecast": "",
    "alert list": "",
    "alert silence": "{alert} --until 2999-01-01T00:00:00Z" + WHY,
    "alert acknowledge": "{alert}" + WHY,
    "alert resolve": "{other}" + WHY,
    "review list": "--all",
    "review show": "{review}",
    "review determine": "{review} --determination met --date 2026-11-30" + WHY,
    "run declare": "alpha --format bf16 --author ada",
    "run list": "",
    "run claims": "",
    "run adopt": "alpha --format" + WHY,
    "run show": "alpha",
    "run allocations": "",
    "run attach": "alpha --match job-*" + WHY,
    "run detach": "alpha --match job-*" + WHY,
    "run label": "alpha --activity pretraining" + WHY,
    "run rename": "alpha atlas" + WHY,
    "run split": "alpha --into tail --phase 1" + WHY,
    "run merge": "tail --into alpha" + WHY,
    "run end": "alpha" + WHY,
    "run reopen": "alpha" + WHY,
    "run hints": "",
    "model list": "",
    "model show": "alpha",
    "model add-external": "alpha --entry api --lower 1e19 --best 1e20 --upper 1e21 --party p "
    "--period 2026-01-01..2026-02-01 --source {source}" + WHY,
    "model remove-external": "alpha --entry api" + WHY,
    "model add-parent": "alpha --parent base --edge init" + WHY,
    "model complete": "alpha --complete unknown --statement none" + WHY,
    "model party": "alpha --party p --role provider" + WHY,
    "model plan": "alpha --lower 1e20 --best 1e21 --upper 1e22 --from 2098-01-01T00:00:00Z "
    "--until 2099-01-01T00:00:00Z" + WHY,
    "model condition": "alpha eu-ai-act-51-2/none --met" + WHY,
    "model decide": "alpha --profile eu-cumulative --leave-out evaluation --date 2026-11-30" + WHY,
    "report": "--model alpha",
    "report file": "--model alpha --signed-by Ada" + WHY,
    "report filed": "",
    "report show": "{filed}",
    "role grant": "ada --role owner" + WHY,
    "role list": "",
    "role revoke": "bea --role compliance" + WHY,
    "approve list": "",
    "approve give": "1" + WHY,
    "approve refuse": "1" + WHY,
    "ledger verify": "",
    "ledger rebuild": "",
    "ledger audit": "",
    "ledger backup": "{copy}",
    "ledger quarantine list": "",
    "ledger quarantine release": "nothing" + WHY,
    "ledger quarantine reject": "nothing" + WHY,
    "ledger fork list": "",
    "ledger hold add": "run:alpha" + WHY,
    "ledger hold list": "",
    "ledger hold release": "run:alpha" + WHY,
    "recompute": WHY,
    "import": "{copy}/nothing",
    "thresholds show": "eu-ai-act-51-2",
    "device enrolled": "",
    "device down": "n0 --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z" + WHY,
    "device enroll": "GPU-9 --from 2026-01-01T00:00:00Z --part h100-sxm5-80gb --node n9" + WHY,
    "device retire": "GPU-9 --at 2026-01-02T00:00:00Z" + WHY,
}
"""Command -> its arguments but --ledger, in an order in which they work on one ledger."""

REFUSED = {
    "run adopt",
    "run merge",
    "model condition",
    "model decide",
    "import",
    "role revoke",
    "approve give",
    "approve refuse",
    "ledger quarantine release",
    "ledger quarantine reject",
}
"""Have nothing to act on here: they are marked all the same, before they say so."""


def leaves(
    command: click.Command, context: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            inner = click.Context(found, parent=context, info_name=name)
            yield from leaves(found, inner, (*path, name))
        if not command.invoke_without_command:
            return
    yield " ".join(path), command


def of_a_ledger() -> set[str]:
    """The commands that may be given a ledger, but those that serve or examine one."""
    found = leaves(cli.group, click.Context(cli.group))
    named = {name for name, command in found if any(p.name == "ledger" for p in command.params)}
    return named - {words.removeprefix("flopmeter ") for words in marks.WITHOUT_FIGURES}


async def cross(folder: Path, *, simulated: bool) -> None:
    """A ledger with a run above a line, so that an alert fires and a review is open."""
    async with running(folder, simulated=simulated, evaluate_period_s=0.1) as app:
        for number in range(DEVICES):
            record = h100(f"GPU-{number}", simulated=simulated)
            app.table.merge(KeyedVector(key_of(record), 1, busy_vector(CROSSED_S)), record)
        await app.evaluate_now()


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A simulated ledger."""
    asyncio.run(cross(tmp_path, simulated=True))
    return str(tmp_path / "ledger.db")


def test_every_command_is_called() -> None:
    """A new command that is given a ledger has to be added here."""
    assert of_a_ledger() == set(CALLS) | {"ledger restore"}


def test_every_command_is_marked(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it says anything of a simulated ledger a command says that it is one."""
    (tmp_path / "source").write_text("an invoice")
    assert main(["review", "list", "--ledger", ledger, "--json"]) == 1
    review = json.loads(capsys.readouterr().out)["reviews"][0]["number"]
    assert main(["alert", "list", "--ledger", ledger, "--json"]) == 1
    alert, other, *_ = [row["number"] for row in json.loads(capsys.readouterr().out)["alerts"]]
    places = {"source": tmp_path / "source", "review": review, "alert": alert, "other": other}
    places["filed"] = 0
    unmarked, failed = [], []
    for call, arguments in CALLS.items():
        for form in ("", "--json"):
            words = arguments.format(**places, copy=tmp_path / f"copy{form}")
            code = main([*shlex.split(f"{call} {words}"), "--ledger", ledger, *form.split()])
            told = capsys.readouterr()
            if form and call == "report file":
                places["filed"] = json.loads(told.out)["declaration"]
            if form and code in (0, 1):
                if json.loads(told.out).get("simulated") is not True:
                    unmarked.append(f"{call} --json")
            elif not form and "SIMULATED" not in told.out[:200]:
                unmarked.append(call)
            if code not in (0, 1) and not (form or call in REFUSED):
                failed.append(f"{call}: {code} {told.err}")
    assert unmarked == []
    assert failed == [], "\n".join(failed)
