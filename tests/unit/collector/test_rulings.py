"""Rulings as ledger rows: what holds at once, what waits, what takes the place of what."""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter_collector.book import Book
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.rulings import Rulings, parse_ruling
from flopmeter_core.errors import DataError

DAY_NS = 86_400 * 10**9
NOW_NS = 20_000 * DAY_NS


class Ledger:
    """A book, and declarations in their order."""

    def __init__(self) -> None:
        """With two people who may stand behind what lowers."""
        self.book = Book()
        self.count = 0
        self.say("role", "ada", "ada", role="owner", state="granted", reason="r")
        for person in ("ben", "eva"):
            self.say("role", person, "ada", role="compliance", state="granted", reason="r")

    def say(self, kind: str, subject: str, author: str, **body: str) -> int:
        """Take the next declaration; returns its number."""
        self.count += 1
        self.book.apply(Declaration(self.count, NOW_NS, author, "cli", kind, subject, body))
        return self.count

    def condition(self, state: str, author: str = "zoe", **more: str) -> int:
        """Say something of a condition of the row r."""
        body = {"threshold": "r", "condition": "c", "state": state, "reason": "why", **more}
        return self.say("condition", "m", author, **body)

    def decide(self, exactly: str, author: str = "ben") -> int:
        """Decide to leave something out under the profile p."""
        body = {"profile": "p", "date": "2024-01-01", "reason": "why", "state": "undone"}
        if exactly:
            body |= {"state": "stands", "leave_out": "words", "exactly": exactly}
        return self.say("decision", "m", author, **body)

    def approve(self, number: int, author: str = "eva") -> None:
        """Stand behind one."""
        self.say("approval", str(number), author, state="given", reason="seen")

    @property
    def rulings(self) -> Rulings:
        """What stands of the model."""
        return self.book.rulings.of("m", self.book.approvals)

    @property
    def met(self) -> Any:
        """What is declared of the condition."""
        return dict(self.rulings.declared("r")).get("c")

    def state(self, number: int) -> str:
        """How a declaration that lowers stands."""
        return self.book.approvals.lowerings[number].state


def test_met_holds_at_once_and_not_met_waits() -> None:
    """Only what makes less apply waits, and for two people."""
    ledger = Ledger()
    ledger.condition("met")
    assert ledger.met is True
    number = ledger.condition("not_met", "zoe")
    assert (ledger.met, ledger.state(number)) == (True, "pending")
    ledger.approve(number, "ben")
    assert ledger.met is True
    ledger.approve(number, "eva")
    assert ledger.met is False
    (standing,) = ledger.rulings.conditions
    assert [person for person, _ in standing.people] == ["ben", "eva"]
    ledger.condition("undone")
    assert (ledger.met, ledger.state(number)) == (None, "superseded")


def test_the_author_counts_where_they_have_the_role() -> None:
    """With a reason and the role, one more person is enough; the same one is not two."""
    ledger = Ledger()
    number = ledger.condition("not_met", "ben")
    with pytest.raises(DataError, match="stands behind"):
        ledger.approve(number, "ben")
    ledger.approve(number, "eva")
    assert ledger.met is False


def test_a_later_word_ends_what_waits() -> None:
    """Approving what was corrected since brings nothing back."""
    ledger = Ledger()
    number = ledger.condition("not_met", "ben")
    ledger.condition("met")
    assert (ledger.met, ledger.state(number)) == (True, "superseded")
    with pytest.raises(DataError, match="superseded already"):
        ledger.approve(number)
    assert ledger.met is True


def test_a_waiting_word_can_be_taken_back() -> None:
    """Whoever withdraws it leaves nothing behind, and nothing more can be taken back."""
    ledger = Ledger()
    number = ledger.condition("not_met", "ben")
    ledger.condition("undone")
    assert (ledger.met, ledger.state(number)) == (None, "superseded")
    with pytest.raises(DataError, match="nothing is left to take back"):
        ledger.condition("undone")


def test_a_decision_that_leaves_out_less_holds_at_once() -> None:
    """More waits, less or nothing does not, and what held before is marked."""
    ledger = Ledger()
    both = "evaluation/kept/unknown recomputation"
    first = ledger.decide(both)
    assert not ledger.rulings.decisions
    ledger.approve(first)
    assert ledger.rulings.decisions[0].decision.recomputation
    less = ledger.decide("recomputation", "zoe")
    assert ledger.rulings.decisions[0].sequence == less
    assert ledger.state(first) == "superseded"
    more = ledger.decide(both)
    assert (ledger.rulings.decisions[0].sequence, ledger.state(more)) == (less, "pending")
    ledger.decide("")
    assert not ledger.rulings.decisions
    assert ledger.state(more) == "superseded"


def test_rulings_are_of_one_model() -> None:
    """What is said of a model holds for no other one."""
    ledger = Ledger()
    ledger.condition("met")
    assert ledger.book.rulings.of("other", ledger.book.approvals) == Rulings()


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("condition", {"state": "maybe"}, "a condition is met, not_met or undone"),
        ("condition", {"reason": " "}, "the reason has 1 to 2000"),
        ("condition", {"reason": "a\nb"}, "the reason has 1 to 2000"),
        ("condition", {"evidence": ""}, "the evidence has 1 to 2000"),
        ("condition", {"threshold": ""}, "the name of a threshold has"),
        ("condition", {"why": "x"}, "has the unknown field why"),
        ("decision", {"date": "yesterday"}, "is no date"),
        ("decision", {"date": "1850-01-01"}, "lies before 2012-01-01"),
        ("decision", {"date": "2099-01-01"}, "lies ahead"),
        ("decision", {"exactly": "", "state": "stands"}, "says nothing to leave out"),
        ("decision", {"exactly": "x", "state": "stands"}, "no word for work"),
        ("decision", {"state": "maybe"}, "a decision is stands or undone"),
    ],
)
def test_bad_rulings(kind: str, body: dict[str, str], sentence: str) -> None:
    """One sentence, and nothing is taken."""
    whole = {
        "condition": {"threshold": "r", "condition": "c", "state": "met", "reason": "why"},
        "decision": {
            "profile": "p", "leave_out": "all", "exactly": "recomputation", "date": "2024-01-01",
            "state": "stands", "reason": "why",
        },
    }[kind]  # fmt: skip
    parse_ruling(Declaration(1, NOW_NS, "ada", "cli", kind, "m", whole))
    with pytest.raises(DataError, match=sentence):
        parse_ruling(Declaration(1, NOW_NS, "ada", "cli", kind, "m", {**whole, **body}))
