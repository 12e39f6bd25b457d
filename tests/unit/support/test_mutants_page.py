"""The page of defects and mutants: what a run does not measure stays as it was."""

from __future__ import annotations

from mutants.defects import load
from mutants.run import PAGE, joined, page, told
from mutants.scores import HELD


def test_what_the_page_tells_is_what_it_was_made_of() -> None:
    """Reading the page and writing it again changes nothing but what is left of each module."""
    text = PAGE.read_text(encoding="utf-8")
    figures = told(text)
    assert figures["defects"]["rows"] and {held.name for held in HELD} <= set(figures)
    again = page(figures)
    assert again.partition("Of what is left")[0] == text.partition("Of what is left")[0]
    assert told(again) == figures


def test_a_defect_nobody_finds_is_told() -> None:
    """It stands in the page without a test, and is read back so."""
    rows = [["d", "f.py", ""], ["e", "g.py", "tests/test_x.py::test_y[a-b]"]]
    figures = {"defects": {"seconds": 3, "where": "there", "rows": rows}}
    assert "1 of 2 are found" in page(figures)
    assert told(page(figures)) == figures


def test_a_defect_that_was_not_planted_now_stays_as_it_was() -> None:
    """One that nobody planted yet is counted apart; one that the table has no more is gone."""
    first, second = load()[:2]
    before = {"seconds": 3, "where": "x", "rows": [[first.name, "f", "t"], ["gone", "f", "t"]]}
    now = {"seconds": 4, "where": "y", "rows": [[second.name, "g", "u"]]}
    both = joined(before, now)
    assert both["rows"] == [[first.name, "f", "t"], [second.name, "g", "u"]]
    assert f"Not planted by then: {len(load()) - 2} more" in page({"defects": both})
    assert told(page({"defects": both}))["defects"] == both
    assert (both["seconds"], both["where"]) == (7, "y")
