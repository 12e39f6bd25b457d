"""The folder of the site's own law, on the commands that declare: it decides what waits."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from flopmeter.cli import group
from support.own_law import own_law, profile
from support.small_ledger import Spoken, small_ledger

LABEL = ("run", "label", "a", "--activity", "finetuning", "--reason", "it was")


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spoken:
    """Commands on a ledger with one run."""
    monkeypatch.setenv("COLUMNS", "200")
    return Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 2}))


def test_what_waits_is_the_named_laws_to_say(say: Spoken, tmp_path: Path) -> None:
    """A label that the site's own profile counts less waits by it, and by no other law."""
    place = own_law(tmp_path, value="10^30", rules=profile(finetuning="may_exclude"))
    law = ("--thresholds-dir", str(place))
    _, err = say.both(*LABEL, *law)
    assert "waits for 2 more of 2 people" in err
    waiting = say.document("approve", "list", *law)["lowerings"]
    assert [row["state"] for row in waiting] == ["pending"]
    assert say.document("approve", "list")["lowerings"] == []
    _, err = say.both("run", "label", "a", "--activity", "pretraining", "--reason", "x")
    assert "waits" not in err


def test_a_named_folder_has_to_be_there(say: Spoken, tmp_path: Path) -> None:
    """Nothing is declared by another law than the one that was named."""
    missing = ("--thresholds-dir", str(tmp_path / "none"))
    _, err = say.both(*LABEL, *missing, code=64)
    assert str(tmp_path / "none") in err
    assert say.document("approve", "list")["lowerings"] == []


def test_every_command_that_declares_takes_it() -> None:
    """All of them in the same way; ending a run, devices and acts on alerts move no legal total."""
    context = click.Context(group)
    for name in ("run", "model", "role", "approve"):
        found = group.get_command(context, name)
        assert isinstance(found, click.Group)
        for command in found.commands.values():
            options = {word for each in command.params for word in each.opts}
            declares = "--author" in options and command.name not in ("end", "reopen")
            if declares or (name, command.name) == ("approve", "list"):
                assert "--thresholds-dir" in options, f"{name} {command.name}"
