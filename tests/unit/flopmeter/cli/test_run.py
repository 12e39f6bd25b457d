"""`flopmeter run`: what its commands say and write, for people and as JSON."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flopmeter_collector import backends
from support.small_ledger import Spoken, small_ledger

WHY = ("--reason", "seen in the script", "--author", "ada")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger of two runs that are alike."""
    return small_ledger(tmp_path, {"run:a": 3, "run:b": 3})


@pytest.fixture
def say(url: str, capsys: pytest.CaptureFixture[str]) -> Spoken:
    """Commands on it."""
    return Spoken(capsys, "--ledger", url)


def declared(url: str) -> list[tuple[str, str, dict[str, str]]]:
    """Every declaration: who, of what, and what it says."""
    with contextlib.closing(backends.read(url)) as ledger:
        return [(row.author, row.subject, dict(row.body)) for row in ledger.declarations()]


def test_declare(url: str, say: Spoken) -> None:
    """One line says what the run is now; the ledger has it under the author's name."""
    told = say("run", "declare", "a", "--model", "atlas", "--author", "ada")
    assert told == "declaration 1: run a is model atlas\n"
    assert declared(url) == [("ada", "a", {"model": "atlas"})]


def test_declare_an_unknown_run(url: str, say: Spoken) -> None:
    """It is declared all the same, and a possible slip of the name is said once, beside it."""
    out, err = say.both("run", "declare", "z", "--model", "atlas")
    assert out == "declaration 1: run z is model atlas\n"
    assert "no device has reported for run 'z' yet" in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("--phase", "1"), ("--until", "2026-01-01T00:00:00Z")])
def test_a_label_says_something(url: str, say: Spoken, words: tuple[str, ...]) -> None:
    """A label without a class is refused by a sentence that names the three, and not written."""
    told = say.refused("run", "label", "a", *words)
    assert "at least one of --activity, --disposition, --data-visibility" in told
    assert declared(url) == []


def test_end_and_reopen(url: str, say: Spoken) -> None:
    """An ended run takes no declaration until it is opened again; both are told as asked."""
    assert say("run", "end", "a", *WHY) == "declaration 1: run a is ended\n"
    refused = say.refused("run", "declare", "a", "--model", "atlas", code=77)
    assert "ended" in refused
    told = say.document("run", "reopen", "a", *WHY)
    assert (told["run"], told["state"], told["sequence"]) == ("a", "open", 2)
    say("run", "declare", "a", "--model", "atlas", "--author", "ada")
    assert [body for _, _, body in declared(url)][-1] == {"model": "atlas"}


def test_hints(url: str, say: Spoken) -> None:
    """Two runs alike are told with their joint total and why, the same figures as in the JSON."""
    document = say.document("run", "hints")
    (hint,) = document["hints"]
    assert hint["runs"] == ["a", "b"]
    first, second, last = say("run", "hints").splitlines()
    assert first == f"a, b: together {hint['joint']} FLOP"
    assert second.strip() == "; ".join(hint["likenesses"])
    assert last == document["note"]


def test_no_hints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run is like no other, and that is said."""
    say = Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 1}))
    assert say("run", "hints") == "no runs look like one run\n"
