"""`flopmeter run list` and `model list`: rows, filters, and the words for what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.ingest import SIMULATED_RECORD
from support.small_ledger import Spoken, small_ledger


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spoken:
    """Commands on a ledger of three runs, two of one model."""
    monkeypatch.setenv("COLUMNS", "250")
    url = small_ledger(tmp_path, {"run:base": 3, "run:data": 1, "run:chat": 2})
    spoken = Spoken(capsys, "--ledger", url)
    for run in ("base", "data"):
        spoken("run", "declare", run, "--model", "atlas", "--format", "bf16=1")
    spoken("run", "label", "data", "--activity", "pretraining")
    spoken("run", "rename", "chat", "small talk")
    return spoken


def test_runs(say: Spoken) -> None:
    """The largest first; a second name stands beside the run's own, the label as declared."""
    lines = [line for line in say("run", "list").splitlines() if line.strip()]
    assert [line.split()[0] for line in lines[1:4]] == ["base", "chat", "data"]
    assert "chat (small talk)" in lines[2] and "undeclared" in lines[2]
    assert "bf16" in lines[3] and "pretraining" in lines[3]


def test_models(say: Spoken) -> None:
    """A model's runs are counted, and it stands against the line it is nearest to."""
    rows = {row["model"]: row for row in say.document("model", "list")["models"]}
    assert rows["atlas"]["runs"] == 2 and rows["atlas"]["line"] is not None
    (line,) = (each for each in say("model", "list").splitlines() if each.startswith("atlas"))
    assert rows["atlas"]["line"] in line and rows["atlas"]["state"] in line and "%" in line


def test_a_model_without_a_line(say: Spoken) -> None:
    """Where no row applies there is a stroke, and no share."""
    from flopmeter.lab.listed import _of_line, models_listing

    row = say.document("model", "list")["models"][0]
    bare = {**row, "line": None, "state": None, "inherited_runs": 2}
    assert _of_line(bare) == "-"
    assert len(models_listing([bare])) == 1


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--match", "*a*"), ["base", "chat", "data"]),
        (("--match", "small*"), ["chat"]),
        (("--model", "atlas", "--sort", "name"), ["base", "data"]),
        (("--undeclared",), ["base", "chat"]),
        (("--waiting",), []),
    ],
)
def test_filters(words: tuple[str, ...], names: list[str], say: Spoken) -> None:
    """Filters narrow the same rows down; none is a sentence."""
    assert [row["run"] for row in say.document("run", "list", *words)["runs"]] == names
    if not names:
        assert say("run", "list", *words) == "no runs fit\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "list", "--model", "none"), "no run is of model 'none'; `flopmeter model list`"),
        (("model", "list", "--line", "none"), "no model is held against a line 'none'; the lines"),
        (("model", "list", "--state", "none"), "no model is 'none'; there are "),
    ],
)
def test_what_is_not_there(words: tuple[str, ...], sentence: str, say: Spoken) -> None:
    """It is said together with what there is."""
    assert sentence in say.refused(*words)


def test_a_simulated_ledger_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lists, its acts and its JSON each carry the mark."""
    url = small_ledger(tmp_path, {"run:a": 1}, record=SIMULATED_RECORD)
    say = Spoken(capsys, "--ledger", url)
    assert say("run", "list").startswith("SIMULATED")
    assert say("model", "list").startswith("SIMULATED")
    told = say("run", "declare", "a", "--model", "atlas")
    assert "SIMULATED" in told.splitlines()[0]
    assert say.document("run", "declare", "a", "--model", "atlas")["simulated"] is True
