"""JSON that says of which kind its ledger is, and a bar that only a terminal sees."""

from __future__ import annotations

import io
import json
from typing import Any

import click
import pytest
from rich.console import Console

from flopmeter.cli import progress
from flopmeter.cli.output import SIMULATED_KEY, print_json
from flopmeter.lab.bulk.load import Progress


def printed(content: Any, simulated: bool | None, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command that knows its ledger prints."""
    with click.Context(click.Command("x")) as context:
        context.meta[SIMULATED_KEY] = simulated
        print_json(content)
    return json.loads(capsys.readouterr().out)


def test_the_kind_stands_behind_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """A document of a ledger says whether that is simulated, unless it says so itself."""
    assert list(printed({"a": 1, "schema": 1}, True, capsys)) == ["schema", "simulated", "a"]
    assert list(printed({"a": 1}, False, capsys)) == ["simulated", "a"]
    assert printed({"simulated": False}, True, capsys) == {"simulated": False}
    assert printed({"a": 1}, None, capsys) == {"a": 1}
    assert printed([1], True, capsys) == [1]


def test_outside_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is added where nobody knows a ledger; letters stay what they are."""
    print_json({"name": "é"})
    assert capsys.readouterr().out == '{\n  "name": "é"\n}\n'


@pytest.mark.parametrize("shown", [True, False])
def test_bar(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many readings a second, and of how many devices; or nothing at all."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress,
        "console",
        lambda stderr: Console(file=screen, force_terminal=True, width=120),
    )
    with progress.bar("importing", shown=shown) as tell:
        tell(Progress(done_bytes=5, all_bytes=10, rows=200, series=1, all_series=4))
        tell(Progress(done_bytes=10, all_bytes=10, rows=400, series=4, all_series=4))
    said = screen.getvalue()
    if shown:
        assert "importing" in said and "100%" in said and "4 of 4" in said
    else:
        assert "importing" not in said
