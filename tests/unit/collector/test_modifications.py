"""Modifications against their lines: exact at a third, counted by the row's own profile."""

from __future__ import annotations

import datetime
from fractions import Fraction

import pytest

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.modifications import Line, lines_of, modification_rows
from flopmeter_collector.totals import Totals
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.threshold_files import parse_catalogue
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


def lines(*rows: Declaration) -> dict[str, Line]:
    """The lines of the model `tuned`, which came from `base`, by id."""
    totals = Totals(table())
    body = {"parent": "base", "edge": "weights"}
    totals.apply(Declaration(1, 0, "ada", "cli", "parent", "tuned", body))
    for row in rows:
        totals.apply(row)
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
    found = lines(entered("base", "30"), entered("tuned", "30", activity="evaluation"))
    assert found["eu-modification"].own.best == 30
    assert found["eu-modification"].met is True


def test_rows_of_the_day() -> None:
    """A line applies from its first day on and a vetoed one never."""
    before = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    assert modification_rows(ROWS, round(before.timestamp()) * 10**9) == ()
    now = {row.id for row in modification_rows(ROWS, AS_OF_NS)}
    assert "eu-modification" in now and "ca-sb1047-finetune" not in now
