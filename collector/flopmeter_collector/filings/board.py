"""All models on one page: how far each is from each line, and what comes next.

Owns: headroom, which models are told line by line, the order of rows and dates, and the words.
May touch: nothing; pure functions.
Called by the lab's reporting; rendered as reports are.
Explained in docs/filings.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flopmeter_collector.documents import Json
from flopmeter_collector.filings.blocks import (
    DRAFT,
    Block,
    Heading,
    Paragraph,
    Points,
    Table,
)
from flopmeter_collector.filings.document import SCHEMA
from flopmeter_collector.filings.facts import StandingFacts
from flopmeter_collector.filings.sections import conditions_of, review_json
from flopmeter_collector.rounding import Rounding, percent_text, round_flop
from flopmeter_collector.rulings import NO_RULINGS, Rulings
from flopmeter_collector.standing_words import used_sentence
from flopmeter_core.catalogue import Threshold
from flopmeter_core.interval import Interval

NEAR, NEAR_WORDS = 1_000, "a thousandth"
"""A model is told line by line from this part of a line on, as forecasts follow it from there; of
the others one sentence is told, or a site's many small runs would bury what a board has to see."""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One model: its executed FLOP, how it stands to each line, and which exclusions it uses."""

    model: str
    executed: Interval
    simulated: bool
    standings: tuple[StandingFacts, ...]
    rulings: Rulings = NO_RULINGS


@dataclass(frozen=True, slots=True)
class Board:
    """Everything the page says.

    Attributes:
        measured_to, law_as_of: two of a report's three times, as text and as a day.
        rows: in the order of the models' names.
        upcoming: (day, threshold, what happens), from the catalogue, soonest first.
        unattributed_upper_flop: what work of no known run could add at most.
    """

    measured_to: str
    law_as_of: datetime.date
    rows: tuple[BoardRow, ...]
    upcoming: tuple[tuple[datetime.date, str, str], ...]
    unattributed_upper_flop: int


def upcoming_dates(
    thresholds: Iterable[Threshold], after: datetime.date
) -> tuple[tuple[datetime.date, str, str], ...]:
    """Dates of the catalogue that lie ahead.

    Args:
        thresholds: the catalogue.
        after: the day whose law is applied.
    """
    words = (
        ("in_force_from", "applies"),
        ("enforceable_from", "can be enforced"),
        ("transition_until", "transition ends"),
    )
    found = [
        (date, row.id, word)
        for row in thresholds
        for name, word in words
        if isinstance(date := getattr(row.dates, name), datetime.date) and date > after
    ]
    return tuple(sorted(found))


def headroom_flop(facts: StandingFacts) -> int:
    """What may still be computed before the line is reached, most likely; 0 beyond it."""
    return max(0, facts.standing.threshold.value_flop - facts.counted.total.best)


def document(board: Board) -> Json:
    """The page as plain values."""
    return {
        "schema": SCHEMA,
        "standing_words": DRAFT,
        "measured_to": board.measured_to,
        "law_as_of": board.law_as_of.isoformat(),
        "simulated": any(row.simulated for row in board.rows),
        "models": [_row(row) for row in board.rows],
        "upcoming": [
            {"date": date.isoformat(), "threshold": threshold, "what": what}
            for date, threshold, what in board.upcoming
        ],
        "unattributed_could_add": str(
            round_flop(board.unattributed_upper_flop, rounding=Rounding.UP)
        ),
        "unattributed_could_add_flop_str": str(board.unattributed_upper_flop),
    }


def _row(row: BoardRow) -> Json:
    return {
        "model": row.model,
        "executed": str(round_flop(row.executed.best)),
        "executed_flop_str": str(row.executed.best),
        "simulated": row.simulated,
        "decisions": [used_sentence(each) for each in row.rulings.decisions],
        "lines": [_line(standing) for standing in row.standings],
    }


def _line(facts: StandingFacts) -> Json:
    held = facts.standing
    threshold, counted = held.threshold, facts.counted.total
    return {
        "threshold": threshold.id,
        "status": facts.status,
        "state": held.state.value,
        **conditions_of(facts),
        "value_flop_str": str(threshold.value_flop),
        "counted": str(round_flop(counted.best, thresholds=[threshold.value_flop])),
        "counted_flop_str": str(counted.best),
        "reached": percent_text(counted.best, threshold.value_flop),
        "headroom": str(round_flop(headroom_flop(facts), rounding=Rounding.DOWN)),
        "headroom_flop_str": str(headroom_flop(facts)),
        **review_json(facts),
    }


def blocks(told: Json) -> Sequence[Block]:
    """The page block by block.

    Args:
        told: as `document` makes it.
    """
    page: Any = told
    shown: list[Block] = [Heading(1, "Every model against every line")]
    if page["simulated"]:
        shown.append(Paragraph("SIMULATED: figures marked so are made up.", notice=True))
    shown.append(Paragraph("Draft for counsel, not legal advice.", notice=True))
    shown.append(Paragraph(f"Measured to {page['measured_to']}; law as of {page['law_as_of']}."))
    ordered = sorted(page["models"], key=_nearness, reverse=True)
    near = [model for model in ordered if _is_near(model)]
    far = [model for model in ordered if not _is_near(model)]
    if near:
        shown.append(_standings(near))
    if far:
        shown.append(Paragraph(_far(far, "further " if near else "")))
    decided = [f"{row['model']}: {each}" for row in page["models"] for each in row["decisions"]]
    if decided:
        shown += [Paragraph("Exclusions that are used:"), Points(tuple(decided))]
    shown.append(
        Paragraph(
            "Work that no run is known to have done could add up to "
            f"{page['unattributed_could_add']} FLOP; it is in no figure above."
        )
    )
    shown.append(Heading(2, "What comes next"))
    dates = [(row["date"], row["threshold"], row["what"]) for row in page["upcoming"]]
    dates += [
        (line["due"], line["threshold"], f"review {line['review']} of {model['model']} is due")
        for model in near
        for line in model["lines"]
        if line["due"] and not line["determination"]
    ]
    shown.append(
        Table(("date", "line", "what"), tuple(sorted(dates)))
        if dates
        else Paragraph("No date of the catalogue lies ahead, and no open review has one.")
    )
    return shown


def _standings(models: Iterable[Any]) -> Table:
    """Models line by line."""
    return Table(
        ("model", "line", "counted", "reached", "left", "state", "review", "due"),
        tuple(
            (
                _name(model),
                line["threshold"],
                line["counted"],
                line["reached"],
                line["headroom"],
                line["state_words"],
                _review(line),
                line["due"] or "-",
            )
            for model in models
            for line in model["lines"]
        ),
    )


def _far(models: Sequence[Any], further: str) -> str:
    """Models that are far from every line, in one sentence; the nearest of them first."""
    is_are = "models are" if len(models) > 1 else "model is"
    first = models[0]
    counted = max((line["counted_flop_str"] for line in first["lines"]), key=int, default="0")
    return (
        f"{len(models)} {further}{is_are} below {NEAR_WORDS} of every line; the nearest to one is "
        f"{_name(first)} with {round_flop(int(counted))} FLOP."
    )


def _name(model: Any) -> str:
    return str(model["model"]) + (" (SIMULATED)" if model["simulated"] else "")


def _nearness(model: Any) -> Fraction:
    """The largest share of any line."""
    return max(
        (Fraction(int(e["counted_flop_str"]), int(e["value_flop_str"])) for e in model["lines"]),
        default=Fraction(0),
    )


def _is_near(model: Any) -> bool:
    asked = any(line["review"] and not line["determination"] for line in model["lines"])
    return asked or _nearness(model) * NEAR >= 1


def _review(line: Any) -> str:
    if line["review"] is None:
        return "-"
    return f"{line['review']}, " + ("determined" if line["determination"] else "OPEN")
