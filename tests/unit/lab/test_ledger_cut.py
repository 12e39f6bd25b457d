"""A ledger cut at a time: what is sure and what is possible always hold the truth between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter.lab.ledger_cut import CutLedger, Side
from flopmeter_collector.ledger.base import Ledger, StoredVector
from flopmeter_core.registers import Component, Key, Vector
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR
from support.totals import h100, key_of, vector_of

WALL_NS = 1_790_000_000 * 10**9 // NS_PER_HOUR * NS_PER_HOUR
"""Boot: hour 0 of the device begins here."""

KEY = key_of(h100(), "run:a")


def busy(seconds: int) -> Vector:
    """A register of so many busy seconds."""
    return vector_of({Component.BUSY_NS: seconds * 10**9})


class Rows:
    """A ledger of one key: its newest vector and its hours."""

    def __init__(self, rows: Iterable[HourlyVector], *branches: StoredVector) -> None:
        """Hold them."""
        self._rows = tuple(rows)
        self._branches = branches

    def vectors(self) -> Iterable[StoredVector]:
        """The branches."""
        return self._branches

    def hours(self, allocation: str) -> Iterable[HourlyVector]:
        """The hours."""
        return self._rows if allocation == KEY.allocation else ()


def hour(number: int, seconds: int, sequence: int) -> HourlyVector:
    """The vector read at the very end of an hour."""
    boot_ns = (number + 1) * NS_PER_HOUR - 1
    return HourlyVector(KEY, sequence, busy(seconds), number, boot_ns, WALL_NS + boot_ns)


def seconds(rows: Rows, until_ns: int, side: Side) -> int:
    """Busy seconds before an instant."""
    kept = list(CutLedger(cast(Ledger, rows), until_ns, side).vectors())
    return sum(stored.vector[Component.BUSY_NS] for stored in kept) // 10**9


def ledger(*worked: int) -> Rows:
    """A key that worked so many seconds in each hour, the last one not over yet."""
    totals = [sum(worked[: end + 1]) for end in range(len(worked))]
    rows = [hour(number, total, number + 1) for number, total in enumerate(totals[:-1])]
    return Rows(rows, StoredVector(KEY, 0, len(worked), busy(totals[-1])))


def test_between_two_hours() -> None:
    """At the end of an hour nothing is in doubt."""
    rows = ledger(100, 200, 300, 50)
    for side in Side:
        assert seconds(rows, WALL_NS + 2 * NS_PER_HOUR, side) == 300


def test_inside_an_hour() -> None:
    """The hour that is cut is possible and not sure."""
    rows = ledger(100, 200, 300, 50)
    middle = WALL_NS + 2 * NS_PER_HOUR + NS_PER_HOUR // 2
    assert seconds(rows, middle, Side.SURE) == 300
    assert seconds(rows, middle, Side.AT_MOST) == 600


def test_before_everything() -> None:
    """A key that began later is not there at all."""
    rows = ledger(100, 200)
    cut = CutLedger(cast(Ledger, rows), WALL_NS - 1, Side.AT_MOST)
    assert list(cut.vectors()) == []


def test_without_hours() -> None:
    """Where no hour tells when, all of it may lie before, and none of it surely does."""
    rows = Rows((), StoredVector(KEY, 0, 1, busy(70)))
    assert seconds(rows, WALL_NS, Side.SURE) == 0
    assert seconds(rows, WALL_NS, Side.AT_MOST) == 70


def test_fork() -> None:
    """Of two histories nobody can tell when: both possible, none sure."""
    rows = Rows(
        [hour(0, 60, 1)],
        StoredVector(KEY, 0, 2, busy(70)),
        StoredVector(KEY, 1, 2, busy(80)),
    )
    late = WALL_NS + 9 * NS_PER_HOUR
    assert seconds(rows, late, Side.SURE) == 0
    assert seconds(rows, late, Side.AT_MOST) == 150


def test_hours_are_cut_too() -> None:
    """A declared span is weighed with the hours before the instant only."""
    rows = ledger(100, 200, 300, 50)
    cut = CutLedger(cast(Ledger, rows), WALL_NS + 2 * NS_PER_HOUR, Side.SURE)
    assert [row.hour for row in cut.hours("run:a")] == [0, 1]
    assert list(cut.hours("run:b")) == []


def test_everything_else_is_passed_on() -> None:
    """What no cut concerns is the ledger's own."""
    rows = Rows(())
    rows.position = "here"  # type: ignore[attr-defined]
    assert CutLedger(cast(Ledger, rows), 0, Side.SURE).position == "here"
    with pytest.raises(AttributeError):
        _ = CutLedger(cast(Ledger, rows), 0, Side.SURE).nothing


@given(st.lists(st.integers(0, 3_600), min_size=1, max_size=8), st.integers(0, 9 * 3_600))
def test_truth_lies_between(worked: list[int], at_s: int) -> None:
    """Whatever was done when inside the hours: sure <= true <= possible, at every instant."""
    rows = ledger(*worked)
    until_ns = WALL_NS + at_s * 10**9
    full, rest = divmod(at_s, 3_600)
    # Work at the beginning of each hour, and at its end: the two extremes.
    early = sum(worked[:full]) + (min(rest, worked[full]) if full < len(worked) else 0)
    late = sum(worked[:full]) + (max(0, rest - 3_600 + worked[full]) if full < len(worked) else 0)
    sure, possible = (seconds(rows, until_ns, side) for side in (Side.SURE, Side.AT_MOST))
    assert sure <= late <= early <= possible


def test_keys_of_other_allocations() -> None:
    """Each key is cut by its own hours."""
    other = Key(KEY.device, KEY.incarnation, "run:b", 0, KEY.evidence, KEY.record)
    rows = Rows(
        [hour(0, 60, 1)],
        StoredVector(KEY, 0, 1, busy(60)),
        StoredVector(other, 0, 1, busy(7)),
    )
    until_ns = WALL_NS + NS_PER_HOUR
    assert seconds(rows, until_ns, Side.SURE) == 60
    assert seconds(rows, until_ns, Side.AT_MOST) == 67
