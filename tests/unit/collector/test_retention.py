"""Retention: thinning leaves one row a day, moves no total, and no cut that stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.declarations import FormatSpan
from flopmeter_collector.retention import daily
from flopmeter_collector.spans import Segment, segments_of
from flopmeter_collector.split import Fold, Places
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.registers import Vector
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.ingest import hourly, vector

DAY_NS = 24 * NS_PER_HOUR
FAR_NS = 10**18


def rows_at(hours: Sequence[int]) -> list[HourlyVector]:
    """A row of one more second's work at each of these hours."""
    return [hourly(hour, place, vector(place)) for place, hour in enumerate(hours, start=1)]


def thinned(rows: Sequence[HourlyVector], *, before_ns: int = FAR_NS) -> list[HourlyVector]:
    """What the ledger holds after a thinning."""
    dropped, widened = daily(rows, before_ns=before_ns)
    by_hour = {row.hour: row for row in rows}
    for row in dropped:
        del by_hour[row.hour]
    by_hour |= {row.hour: row for row in widened}
    return [by_hour[hour] for hour in sorted(by_hour)]


def test_the_last_row_of_a_day_stands_for_it() -> None:
    """Of each day the last row stays, with the first hour of all it stands for."""
    rows = rows_at([0, 5, 23, 24, 30, 100])
    kept = thinned(rows)
    assert [(row.hour, row.first_hour) for row in kept] == [(23, 0), (30, 24), (100, 100)]
    assert [row.vector for row in kept] == [rows[2].vector, rows[4].vector, rows[5].vector]
    assert thinned(kept) == kept


def test_newer_rows_stay() -> None:
    """Rows read at the limit or later stay hour by hour."""
    rows = rows_at([0, 1, 2, 3])
    kept = thinned(rows, before_ns=rows[2].wall_ns)
    assert [(row.hour, row.first_hour) for row in kept] == [(1, 0), (2, 2), (3, 3)]


@pytest.mark.parametrize("step_s", [2, -2])
def test_a_step_of_the_wall_clock_keeps_its_rows(step_s: int) -> None:
    """The rows on both sides of a step stay, forward or back: between them lies where it was."""
    rows = rows_at([0, 1, 2, 3])
    stepped = [
        dataclasses.replace(row, wall_ns=row.wall_ns + (0, 0, step_s, step_s)[place] * NS_PER_S)
        for place, row in enumerate(rows)
    ]
    assert [(row.hour, row.first_hour) for row in thinned(stepped)] == [(1, 0), (3, 2)]


hours_of_work = st.lists(st.integers(0, 200), min_size=1, max_size=30, unique=True).map(sorted)
cuts = st.lists(st.integers(-5, 205), max_size=3, unique=True).map(sorted)


@given(hours_of_work, cuts, st.integers(0, 210))
def test_only_the_split_gets_coarser(hours: list[int], at: list[int], limit: int) -> None:
    """Whatever may have been in a span before may be after; the sum is the same to the unit."""
    mix = parse_format_mix("fp8=1")
    spans = [FormatSpan(cut * NS_PER_HOUR, (cut + 1) * NS_PER_HOUR, None, mix) for cut in at]
    segments = segments_of(spans, 0)
    rows = rows_at(hours)
    kept = thinned(rows, before_ns=limit * NS_PER_HOUR)
    newest = vector(len(hours) + 1)
    before, after = (_split(rows_, segments, newest) for rows_ in (rows, kept))
    sums = [[sum(c) for c in zip(*parts.values(), strict=True)] for parts in (before, after)]
    assert sums[0] == sums[1] == list(newest)
    for place in range(len(segments)):
        surely = [parts.get((place,), vector(0))[0] for parts in (before, after)]
        perhaps = [_touching(parts, place) for parts in (before, after)]
        assert surely[1] <= surely[0] and perhaps[1] >= perhaps[0]


@given(hours_of_work, cuts, st.lists(st.integers(-7000, 7000), min_size=30, max_size=30))
def test_a_standing_cut_keeps_its_hour(hours: list[int], at: list[int], steps: list[int]) -> None:
    """What was declared to hold from an instant on keeps every figure, whatever the clock did."""
    cuts_ns = [cut * NS_PER_HOUR + 17 * NS_PER_S for cut in at]
    mix = parse_format_mix("fp8=1")
    spans = [
        FormatSpan(cut, until, None, mix)
        for cut, until in zip(cuts_ns, [*cuts_ns[1:], None], strict=False)
    ]
    segments = segments_of(spans, 0)
    rows = [
        dataclasses.replace(row, wall_ns=row.wall_ns + steps[place] // 1000 * NS_PER_S)
        for place, row in enumerate(rows_at(hours))
    ]
    dropped, widened = daily(rows, before_ns=FAR_NS, cuts_ns=cuts_ns)
    kept = {row.hour: row for row in rows if row not in dropped}
    kept |= {row.hour: row for row in widened}
    newest = vector(len(hours) + 1)
    after = _split([kept[hour] for hour in sorted(kept)], segments, newest)
    assert after == _split(rows, segments, newest)


def test_no_more_rows_stay_than_a_cut_needs() -> None:
    """A day that is cut once keeps the hour of the cut and one row on either side."""
    rows = rows_at(range(24))
    dropped, widened = daily(
        rows, before_ns=FAR_NS, cuts_ns=(rows[9].wall_ns - rows[9].boot_ns + 9 * NS_PER_HOUR + 1,)
    )
    assert len(rows) - len(dropped) == 3
    assert [(row.first_hour, row.hour) for row in widened] == [(0, 8), (10, 23)]


def _split(
    rows: Sequence[HourlyVector], segments: tuple[Segment[FormatSpan | None], ...], newest: Vector
) -> dict[Places, Vector]:
    fold = Fold(segments)
    assert all(fold.add(row) for row in rows)
    return fold.split(newest)


def _touching(parts: dict[Places, Vector], place: int) -> int:
    return sum(amounts[0] for places, amounts in parts.items() if place in places)
