"""`flopmeter run claims` and `adopt`: what processes say, and when it becomes a declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from support.small_ledger import Spoken, small_ledger

WHY = ("--reason", "seen in the script", "--author", "ada")


def claim(run: str, writer: int = 1, **said: Any) -> Claim:
    """What one process says of its run."""
    whose = ClaimKey(run, "0", ClaimScope.GLOBAL, 0, f"{writer:032x}", 0, 1, **said)
    return Claim(whose, ClaimCounts(1, 1, 1, 1))


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spoken:
    """Commands on a ledger with claims."""
    monkeypatch.setenv("COLUMNS", "200")
    claims = (
        claim("a", activity="pretraining", format_mix="fp8=1", model="atlas"),
        claim("a", writer=2, format_mix="bf16=1"),
        claim("ghost", activity="poetry"),
    )
    return Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 1}, claims=claims))


def test_claims(say: Spoken) -> None:
    """Every claim has its row, with what was declared instead."""
    rows = say.document("run", "claims", "a")["claims"]
    assert [(row["field"], row["claimed"], row["declared"]) for row in rows] == [
        ("model", "atlas", None),
        ("activity", "pretraining", None),
        ("format", "bf16=1", None),
        ("format", "fp8=1", None),
    ]
    lines = say("run", "claims").splitlines()
    assert sum("nothing" in line for line in lines) == 5
    assert any(line.split()[:3] == ["ghost", "activity", "poetry"] for line in lines)


def test_no_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A site whose scripts say nothing is told so."""
    say = Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 1}))
    assert say("run", "claims") == "no process claims what its run is\n"


def test_adopt(say: Spoken) -> None:
    """What is adopted is declared in a person's name; the rest stays a claim."""
    told = say("run", "adopt", "a", "--model", "--activity", *WHY)
    assert told == "declaration 1: run a is model atlas, activity pretraining\n"
    rows = {row["field"]: row for row in say.document("run", "claims", "a")["claims"]}
    assert rows["model"]["declared"] == "atlas" and rows["model"]["adopted"]
    assert rows["format"]["declared"] is None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 64, "name what is adopted: --model, --activity, --format"),
        (("--format",), 65, "processes of run 'a' claim several of format (bf16=1; fp8=1)"),
    ],
)
def test_adopt_refused(words: tuple[str, ...], code: int, sentence: str, say: Spoken) -> None:
    """Nothing that is not one clear claim is adopted."""
    assert sentence in say.refused("run", "adopt", "a", *words, *WHY, code=code)
    assert all(row["declared"] is None for row in say.document("run", "claims", "a")["claims"])


def test_adopt_what_nobody_claims(say: Spoken) -> None:
    """It is said, with the command that lists what is claimed."""
    told = say.refused("run", "adopt", "ghost", "--model", *WHY, code=65)
    assert "no process claims a model of run 'ghost'; see `flopmeter run claims`" in told


def test_adopt_without_a_reason(say: Spoken) -> None:
    """Blanks are none."""
    told = say.refused("run", "adopt", "a", "--model", "--reason", " ", code=65)
    assert "an adopted claim needs a reason" in told
