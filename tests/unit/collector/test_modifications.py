"""Modifications against their lines: exact at a third, counted by the row's own profile."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from flopmeter_collector.agreed import ratios_of
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.modifications import Line, lines_of, modification_rows
from flopmeter_collector.totals import Totals
from flopmeter_core.activities import Edge
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.lineage import Lineage
from flopmeter_core.threshold_files import parse_catalogue
from support.agreeing import Agreed
from support.totals import AS_OF_NS, POSITION, table

ROWS = parse_catalogue(builtin_thresholds())
PERIOD = {"from": "2026-01-01", "until": "2026-02-01"}


def entered(model: str, flop: str, **label: str) -> Declaration:
    """Compute of exactly so many FLOP."""
    body = {
        "entry": f"e{flop}{len(label)}", "lower": flop, "best": flop, "upper": flop, **PERIOD,
        "party": "p", "source": "s", "sha256": "0" * 64, **label,
    }  # fmt: skip
    return Declaration(1, 0, "ada", "cli", "external", model, body)


CAME = Declaration(1, 0, "ada", "cli", "parent", "tuned", {"parent": "base", "edge": "weights"})


def lines(*rows: Declaration, agreed: bool = True) -> dict[str, Line]:
    """The lines of the model `tuned`, which came from `base`, by id.

    Args:
        rows: what else was said.
        agreed: whether two people stand behind whatever waits.
    """
    totals = Totals(table())
    take = Agreed(totals.book, totals.apply) if agreed else numbered(totals)
    for row in rows if CAME in rows else (CAME, *rows):
        take(row)
    return lines_in(totals)


def numbered(totals: Totals) -> Callable[[Declaration], None]:
    """Takes declarations, each under a number of its own."""
    numbers = itertools.count(1)
    return lambda row: totals.apply(replace(row, sequence=next(numbers)))


def lines_in(totals: Totals) -> dict[str, Line]:
    """The same of what stands."""
    models = {each.model: each for each in totals.snapshot(AS_OF_NS, POSITION).models}
    (modification,) = models["tuned"].modifications
    of_the_day = modification_rows(ROWS, AS_OF_NS)
    found = lines_of(models["tuned"], modification, models.get("base"), of_the_day)
    return {line.threshold.id: line for line in found}


def test_a_third_exactly() -> None:
    """At a third the number is not met, one FLOP above it is; both are decided."""
    for own, met in (("10", False), ("11", True)):
        line = lines(entered("base", "30"), entered("tuned", own))["eu-modification"]
        assert line.ratio is not None and line.ratio.best == Fraction(int(own), 30)
        assert (line.met, line.decided) == (met, True)


@pytest.mark.parametrize(("own", "met"), [("33333333333333333333333", False), ("3.4e22", True)])
def test_an_unknown_original(own: str, met: bool) -> None:
    """Of an original nobody knows there is no ratio: a third of 10^23 takes its place, exactly."""
    found = lines(entered("tuned", own))
    assert {"eu-modification", "eu-modification-systemic"} & found.keys() == set()
    line = found["eu-modification-fallback"]
    assert line.threshold.exact == Fraction(10**23, 3)
    assert (line.met, line.decided, line.ratio) == (met, True, None)
    known = lines(entered("tuned", own), entered("base", "1e24"))
    assert "eu-modification-fallback" not in known


def test_each_line_counts_by_its_own_profile() -> None:
    """Waiting labels lower nothing: the same compute on both sides is a ratio of one."""
    totals = Totals(table())
    agreed = Agreed(totals.book, totals.apply)
    agreed(CAME)
    agreed(entered("base", "30"))
    totals.apply(replace(entered("tuned", "30", activity="evaluation"), sequence=1000))
    found = lines_in(totals)
    assert found["eu-modification"].own.best == 30
    assert found["eu-modification"].met is True


ORDERS = ((CAME, entered("base", "1e24")), (entered("base", "1e24"), CAME))


@pytest.mark.parametrize("rows", ORDERS, ids=["entered after", "entered before"])
def test_one_persons_entry_lowers_no_ratio(rows: tuple[Declaration, ...]) -> None:
    """In either order: it is in the original's total at once, and below no line by itself."""
    own = entered("tuned", "5e22")
    assert "eu-modification" not in lines(*rows, own, agreed=False)
    assert lines(*rows, own, agreed=False)["eu-modification-fallback"].met is True
    assert lines(*rows, own)["eu-modification"].met is False


def test_half_of_an_original_that_two_people_stand_behind() -> None:
    """What is agreed counts and what is not does not, over two models and under any profile."""
    totals = Totals(table())
    agreed = Agreed(totals.book, totals.apply)
    agreed(entered("base", "30"))
    agreed(CAME)
    agreed(entered("tuned", "15"))
    first = lines_in(totals)["eu-modification"]
    assert first.ratio is not None and first.ratio.best == Fraction(1, 2)
    body = entered("base", "60", activity="pretraining")
    totals.apply(replace(body, sequence=1000))
    second = lines_in(totals)["eu-modification"]
    assert second.ratio is not None and second.ratio.best == Fraction(1, 2)
    assert totals.snapshot(AS_OF_NS, POSITION).models[0].figures.total.best == 90
    (waiting,) = totals.book.approvals.pending()
    assert (waiting.sequence, waiting.models) == (1000, ("tuned",))
    assert waiting.label == "in ratios of what was made from it"
    for number, person in enumerate(("ben", "eva"), start=1001):
        said = {"state": "given", "reason": "invoice seen"}
        totals.apply(Declaration(number, 0, person, "cli", "approval", "1000", said))
    third = lines_in(totals)["eu-modification"]
    assert third.ratio is not None and third.ratio.best == Fraction(15, 90)


def test_whose_ratios_an_entry_is_in() -> None:
    """Of models made from it and from what came of it, by edges over which weights go on."""
    lineage = Lineage()
    for child, parent, edge in (
        ("b", "a", Edge.WEIGHTS),
        ("c", "b", Edge.MERGE),
        ("d", "a", Edge.DISTILLED_FROM),
        ("e", "d", Edge.INIT),
        ("c", "a", Edge.WEIGHTS),
    ):
        lineage.add(child, parent, edge)
    assert ratios_of(lineage, "a") == ("b", "c", "e")
    assert ratios_of(lineage, "c") == ()


def test_an_entry_waits_once_for_all_ratios() -> None:
    """A second model made from it is named beside the first; what was refused stays out."""
    totals = Totals(table())
    take = numbered(totals)
    take(entered("base", "30"))
    take(CAME)
    take(replace(CAME, subject="other"))
    (waiting,) = totals.book.approvals.pending()
    assert (waiting.sequence, waiting.models) == (1, ("other", "tuned"))


def test_rows_of_the_day() -> None:
    """A line applies from its first day on and a vetoed one never."""
    before = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    assert modification_rows(ROWS, round(before.timestamp()) * 10**9) == ()
    now = {row.id for row in modification_rows(ROWS, AS_OF_NS)}
    assert "eu-modification" in now and "ca-sb1047-finetune" not in now
