"""`flopmeter model condition` and `decide`: what is refused, what waits, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.own_law import CONDITION, PROFILE, own_law
from support.small_ledger import Spoken, small_ledger

WHO = ("--reason", "seen", "--author", "ada")
DATE = ("--date", "2026-11-29")


class Site(Spoken):
    """Commands about model a, under a law of the site's own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str, law: Path) -> None:
        """On a ledger."""
        super().__init__(capsys, "--ledger", url, "--thresholds-dir", str(law), *WHO)


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    """A site with one model."""
    return Site(capsys, small_ledger(tmp_path, {"run:a": 1}), own_law(tmp_path, value="10^30"))


def test_a_condition_that_holds(say: Site, tmp_path: Path) -> None:
    """It stands at once, with the evidence's checksum; it can be taken back."""
    (tmp_path / "memo.pdf").write_bytes(b"counted")
    evidence = ("--evidence", str(tmp_path / "memo.pdf"))
    told = say("model", "condition", "a", CONDITION, "--met", *evidence)
    assert told == "declaration 1: condition public of board-line is met for model a\n"
    told = say.document("model", "condition", "a", "public", "--undo")
    assert told["declared"]["state"] == "undone" and not told["waits_for_approval"]


def test_a_condition_that_does_not_hold_waits(say: Site) -> None:
    """Less would apply, so two people are asked first."""
    out, err = say.both("model", "condition", "a", CONDITION, "--not-met")
    assert out.startswith("declaration 1: once approved, condition public of board-line is not met")
    assert "it makes less apply or count under" in err and "2 more of 2 people" in err


def test_a_decision_waits_and_is_withdrawn(say: Site) -> None:
    """What is left out is told; taking it back makes everything count again, at once."""
    asked = ("model", "decide", "a", "--profile", PROFILE, *DATE)
    out, err = say.both(*asked, "--leave-out", "evaluation")
    assert out == "declaration 1: once approved, board leaves evaluation out for model a\n"
    assert "waits for" in err
    assert say(*asked, "--withdraw") == "declaration 2: board leaves nothing out for model a\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("condition", "a", CONDITION), "say whether the condition holds: give --met, --not-met"),
        (("condition", "b", CONDITION, "--met"), "no model is named 'b'; `flopmeter totals` lists"),
        (("condition", "a", "moon", "--met"), "'moon' is no single condition, no row asks for it"),
        (("condition", "a", "moon/public", "--met"), "no row asks for it; use one of"),
        (
            ("decide", "a", "--profile", "moon", *DATE, "--withdraw"),
            "no counting profile has the id 'moon'; there are board",
        ),
        (
            ("decide", "a", "--profile", PROFILE, *DATE),
            "say what is left out with --leave-out, or --withdraw the decision",
        ),
        (
            ("decide", "a", "--profile", PROFILE, *DATE, "--withdraw", "--leave-out", "evaluation"),
            "--withdraw takes the whole decision back; give it without --leave-out",
        ),
        (
            ("condition", "a", CONDITION, "--met", "--evidence", "none.pdf"),
            "name one that can be read, or leave --evidence out",
        ),
        (
            ("condition", "a", CONDITION, "--met", "--evidence", "a\tb"),
            "cannot be printed; rename it",
        ),
    ],
)
def test_refused(words: tuple[str, ...], sentence: str, say: Site) -> None:
    """One sentence with what there is, and nothing is written."""
    assert sentence in say.refused("model", *words)
    told = say.document("model", "condition", "a", CONDITION, "--met")
    assert told["sequence"] == 1
