"""A filed version stays what it was; a later report shows what has changed since."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from flopmeter_collector.filings.document import build
from flopmeter_collector.filings.facts import ModelFacts
from flopmeter_collector.filings.versions import (
    FILING_KIND,
    Filed,
    difference,
    filed_versions,
    statement,
)
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.errors import DataError
from flopmeter_core.filings import builtin_forms
from support.filings import model_facts
from support.totals import AS_OF_NS

EU = builtin_forms()["eu-ai-act"]
PLACED = datetime.date(2024, 2, 29)


def report(facts: ModelFacts, recipient: str) -> Any:
    """A report of the EU's form."""
    return build(facts, EU, recipient=recipient, made_at_ns=AS_OF_NS)


def filing(sequence: int, facts: ModelFacts, recipient: str = "ai-office") -> Declaration:
    """The row of a filed version."""
    body = statement(
        report(facts, recipient),
        report(facts, "internal"),
        signed_by="Ada Example",
        placed_on_market=PLACED,
    )
    return Declaration(sequence, AS_OF_NS, "ada", "cli", FILING_KIND, facts.model, body)


def test_versions_are_numbered_by_model_form_and_recipient() -> None:
    """Each recipient's versions count from 1, whatever lies between them."""
    rows = [
        filing(3, model_facts()),
        filing(4, model_facts(), "authority"),
        filing(5, model_facts(name="other")),
        filing(9, model_facts()),
    ]
    told = [(f.sequence, f.recipient, f.version) for f in filed_versions(rows, model="atlas")]
    assert told == [(3, "ai-office", 1), (4, "authority", 1), (9, "ai-office", 2)]


def test_a_changed_version_is_no_version() -> None:
    """One changed digit of what was filed is found."""
    row = filing(3, model_facts())
    changed = {**row.body, "document": row.body["document"].replace("7.1e24", "6.1e24")}
    assert changed != row.body
    bad = Declaration(3, AS_OF_NS, "ada", "cli", FILING_KIND, "atlas", changed)
    with pytest.raises(DataError, match="declaration 3 is no intact filed version"):
        filed_versions([bad])


def test_difference_is_exact() -> None:
    """To the FLOP, for both totals of both quantities, with what the report rests on."""
    (filed,) = filed_versions([filing(3, model_facts(best=7 * 10**24))])
    now = report(model_facts(best=7 * 10**24 + 1), "internal")
    rows: Any = difference(filed, now)["figures"]
    best = {
        (r["profile"], r["which"]): r["difference_flop_str"] for r in rows if r["bound"] == "best"
    }
    assert set(best.values()) == {"1"}
    assert len(best) == 4
    assert difference(filed, now)["basis"] == {}


def test_nobody_named() -> None:
    """A report is not filed in nobody's name."""
    document = report(model_facts(), "internal")
    with pytest.raises(DataError, match="--signed-by"):
        statement(document, document, signed_by=" ", placed_on_market=None)


@pytest.mark.parametrize(("years", "last"), [(4, (2028, 2, 29)), (5, (2029, 2, 28))])
def test_kept_until(years: int, last: tuple[int, int, int]) -> None:
    """Years are counted from the placing on the market, by the calendar."""
    (filed,) = filed_versions([filing(3, model_facts())])
    assert filed.kept_until(years) == datetime.date(*last)


def test_not_on_the_market() -> None:
    """Without a placing on the market nobody can say until when."""
    body = statement(
        report(model_facts(), "internal"),
        report(model_facts(), "internal"),
        signed_by="Ada",
        placed_on_market=None,
    )
    row = Declaration(1, AS_OF_NS, "ada", "cli", FILING_KIND, "atlas", body)
    (filed,) = filed_versions([row])
    assert isinstance(filed, Filed)
    assert filed.kept_until(10) is None
