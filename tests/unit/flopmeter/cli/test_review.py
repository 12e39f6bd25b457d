"""`flopmeter review` and `flopmeter alert`: lists, acts and refusals, for people and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_collector.ledger.base import Transition
from flopmeter_proto.daemon.clock import SystemClock
from support.small_ledger import Spoken, small_ledger

FIGURES = {
    "floor": "0",
    "lower": "9",
    "best": "12",
    "upper": "13",
    "ceiling": "99",
    "threshold_value": "10",
    "method_version": "3",
    "review_earliest": "2026-11-30T10:00:00Z",
    "review_due": "2026-12-14T23:00:00Z",
    "review_due_on": "2026-12-14 (Europe/Brussels)",
}
WHO = ("--reason", "counted by hand", "--author", "ada")


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spoken:
    """Commands on a ledger with one crossing."""
    monkeypatch.setenv("COLUMNS", "200")
    now_ns = SystemClock().wall_ns()
    row = Transition(0, "m", "eu-ai-act-51-2", "unknown", "above", True, now_ns, 0, FIGURES)
    return Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 1}, transitions=(row,)))


def test_a_review_from_open_to_determined(say: Spoken) -> None:
    """Open reviews make the exit code 1; a determination is told, kept and listed with --all."""
    (row,) = say.document("review", "list", code=1)["reviews"]
    assert (row["number"], row["open"]) == (1, True)
    assert "eu-ai-act-51-2" in say("review", "list", code=1)
    document = say.document("review", "show", "1")
    assert document["threshold"] == "eu-ai-act-51-2"
    assert "2026-12-14 (Europe/Brussels)" in say("review", "show", "1")
    met = ("review", "determine", "1", "--determination", "met", "--date", "2026-11-30")
    told = say.document(*met, *WHO)
    assert (told["review"], told["author"], told["determination"]) == (1, "ada", "met")
    assert say(*met, *WHO) == (
        "declaration 2: review 1 is determined met on 2026-11-30 by ada\n"
    ), "a later one stands beside it"
    assert say.document("review", "list")["reviews"] == []
    (row,) = say.document("review", "list", "--all")["reviews"]
    assert row["determination"]["author"] == "ada" and not row["open"]
    assert "met" in say("review", "list", "--all")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "7"), "there is no review 7; `flopmeter review list` has their numbers"),
        (
            ("determine", "one", "--determination", "met", "--date", "2026-11-30", *WHO),
            "'one' is no number; `flopmeter review list` has those there are",
        ),
    ],
)
def test_a_review_that_is_none(words: tuple[str, ...], sentence: str, say: Spoken) -> None:
    """It is said, with the command that lists those there are."""
    assert sentence in say.refused("review", *words)


def test_an_alert_is_silenced_and_resolved(say: Spoken) -> None:
    """A firing alert makes the exit code 1; each act is one line or its JSON."""
    assert "eu-ai-act-51-2" in say("alert", "list", code=1)
    until = ("--until", "2099-01-01T00:00:00Z")
    assert say("alert", "silence", "1", *until, *WHO) == "declaration 1: alert 1: silence\n"
    (row,) = say.document("alert", "list")["alerts"]
    assert row["status"] == "silenced"
    told = say.document("alert", "resolve", "1", *WHO)
    assert (told["alert"], told["action"], told["author"]) == (1, "resolve", "ada")
    (row,) = say.document("alert", "list")["alerts"]
    assert (row["status"], row["why"]) == ("resolved", "resolved by ada: counted by hand")
    assert "nothing is left to acknowledge" in say.refused("alert", "acknowledge", "1", *WHO)


def test_an_alert_that_is_none(say: Spoken) -> None:
    """Its number is said."""
    assert "there is no alert 9" in say.refused("alert", "resolve", "9", *WHO)
