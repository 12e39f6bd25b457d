"""The board page: what is near a line first, what is far in one sentence, what comes next."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from flopmeter_collector.filings import html as html_page
from flopmeter_collector.filings.blocks import Block, Heading, Paragraph, Points, Table
from flopmeter_collector.filings.board import (
    Board,
    BoardRow,
    blocks,
    document,
    headroom_flop,
    upcoming_dates,
)
from flopmeter_collector.filings.facts import ReviewFacts, StandingFacts
from flopmeter_collector.rulings import Rulings, Used
from flopmeter_core.catalogue import stand
from flopmeter_core.counting import Decision
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.threshold_files import parse_threshold
from support.filings import figures

DAY = datetime.date(2026, 11, 30)
REVIEW = ReviewFacts(7, "2026-11-20", "2026-12-04 (Europe/Brussels)", "")


def row(
    model: str,
    best: int,
    *,
    lines: tuple[str, ...] = ("eu-ai-act-51-2", "ca-sb53"),
    review: ReviewFacts | None = None,
    simulated: bool = False,
) -> BoardRow:
    """A model against some lines of the catalogue."""
    of = figures(best)
    held = []
    for name in lines:
        threshold = parse_threshold(builtin_thresholds()[f"{name}.toml"], name=name)
        facts = StandingFacts(stand(of, threshold), of, "in_force")
        held.append(replace(facts, review=review if name == "eu-ai-act-51-2" else None))
    return BoardRow(model, of.total, simulated, tuple(held))


def told(*rows: BoardRow, upcoming: Any = ()) -> dict[str, Any]:
    """The page as plain values."""
    return document(Board("2026-11-30T00:00:00Z", DAY, rows, tuple(upcoming), 3 * 10**22))


def table(shown: list[Block] | Any, first: str) -> Table | None:
    """The table whose first column is called so."""
    tables = [each for each in shown if isinstance(each, Table) and each.head[0] == first]
    return tables[0] if tables else None


def sentences(shown: Any) -> str:
    """All paragraphs."""
    return "\n".join(each.text for each in shown if isinstance(each, Paragraph))


def test_the_nearest_come_first_and_the_far_are_one_sentence() -> None:
    """A board sees what matters however many small runs there are; the JSON keeps every model."""
    small = [row(f"small-{n:03}", 10**18 + n) for n in range(300)]
    page = told(*small, row("b", 4 * 10**24), row("a", 2 * 10**25))
    shown = blocks(page)
    held = table(shown, "model")
    assert held is not None
    assert [cells[0] for cells in held.rows] == ["a", "a", "b", "b"]
    assert "300 further models are below a thousandth of every line; the nearest to one is " in (
        sentences(shown)
    )
    assert "small-299 with 1.0e18 FLOP" in sentences(shown)
    assert len(page["models"]) == 302


def test_a_thousandth_is_where_a_model_is_told_line_by_line() -> None:
    """At a thousandth exactly it is near; one FLOP less and it is not."""
    for best, near in ((10**22, True), (10**22 - 1, False)):
        shown = blocks(told(row("m", best)))
        assert (table(shown, "model") is not None) == near
        assert ("1 model is below a thousandth" in sentences(shown)) != near


def test_an_open_review_is_never_far() -> None:
    """However small the figure, a question that nobody answered is on the page, with its date."""
    shown = blocks(told(row("m", 10**15, review=REVIEW)))
    held, dates = table(shown, "model"), table(shown, "date")
    assert held is not None and dates is not None
    assert held.rows[0][-2:] == ("7, OPEN", "2026-12-04 (Europe/Brussels)")
    assert dates.rows == (
        ("2026-12-04 (Europe/Brussels)", "eu-ai-act-51-2", "review 7 of m is due"),
    )


def test_a_determined_review_is_due_no_more() -> None:
    """It stands beside its line, and is in no list of what comes."""
    done = replace(REVIEW, determination="not met, by Ada on 2026-11-29")
    shown = blocks(told(row("m", 2 * 10**25, review=done)))
    held = table(shown, "model")
    assert held is not None and held.rows[0][-2] == "7, determined"
    assert table(shown, "date") is None
    assert "No date of the catalogue lies ahead, and no open review has one." in sentences(shown)


def test_dates_of_laws_and_reviews_are_one_list() -> None:
    """Soonest first, whoever set them."""
    catalogue = [parse_threshold(text, name=n) for n, text in builtin_thresholds().items()]
    found = upcoming_dates(catalogue, DAY)
    assert (datetime.date(2027, 1, 1), "ny-raise-2026", "applies") in found
    assert all(date > DAY for date, _, _ in found)
    dates = table(blocks(told(row("m", 2 * 10**25, review=REVIEW), upcoming=found)), "date")
    assert dates is not None
    days = [cells[0] for cells in dates.rows]
    assert days == sorted(days) and days[0].startswith("2026-12-04")


def test_what_is_left_is_never_negative() -> None:
    """Beyond the line nothing is left."""
    (below, _), (above, _) = row("m", 4 * 10**24).standings, row("m", 2 * 10**25).standings
    assert headroom_flop(below) == 6 * 10**24 and headroom_flop(above) == 0


def test_no_figure_lands_on_a_line() -> None:
    """What is executed is rounded by the same rule as what is counted."""
    (model,) = told(row("m", 9_960 * 10**21))["models"]
    assert model["executed"] == model["lines"][0]["counted"] == "9.96e24"
    assert model["lines"][0]["value_flop_str"] == str(10**25)


def test_made_up_figures_are_marked_twice() -> None:
    """Above the page and in each row, or in the sentence of the far ones."""
    shown = blocks(told(row("near", 2 * 10**25, simulated=True), row("far", 7, simulated=True)))
    held = table(shown, "model")
    assert held is not None and held.rows[0][0] == "near (SIMULATED)"
    assert "far (SIMULATED) with 7.0e0 FLOP" in sentences(shown)
    assert "SIMULATED: figures marked so are made up." in sentences(shown)


def test_a_model_without_any_line_is_told() -> None:
    """Where no law holds on the day, nobody is near one."""
    shown = blocks(told(row("m", 10**25, lines=())))
    assert "1 model is below a thousandth of every line; the nearest to one is m" in (
        sentences(shown)
    )


def test_exclusions_in_use_are_listed() -> None:
    """Whoever reads a smaller total sees that it is one, and whose decision it is."""
    used = Used(
        "eu-cumulative", Decision(), "evaluation", DAY, "Ada", "Annex A.1", evidence="", sequence=9
    )
    decided = replace(row("m", 2 * 10**25), rulings=Rulings(decisions=(used,)))
    points = [each for each in blocks(told(decided)) if isinstance(each, Points)]
    assert len(points) == 1 and "evaluation" in points[0].items[0]
    assert points[0].items[0].startswith("m: ")


def test_long_tables_have_their_head_on_each_sheet() -> None:
    """A short table is kept whole, a long one is cut between rows; dates stay in one piece."""
    long = blocks(told(*(row(f"m{n}", 2 * 10**25) for n in range(20))))
    page = html_page.render(long, title="t", simulated=False)
    assert page.count("<thead>") == 1 and 'class="short"' not in page.split("What comes next")[0]
    short = html_page.render(
        [Heading(1, "x"), Table(("day", "of it"), (("2026-12-04", "99.6 %"),))],
        title="t",
        simulated=False,
    )
    assert '<table class="short"><thead>' in short
    assert short.count('class="id"') == 2
