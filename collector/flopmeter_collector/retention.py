"""Old hours told by the day: which rows of the ledger go, and what those that stay stand for.

Owns: the rule of the thinning, and how much of it is done at a time.
May touch: the ledger it is given, reading; the caller commits what it returns.
Called by publish, once a round until nothing is left, then once a day.
Explained in docs/adr/0013-operating-a-ledger.md.

Registers and declarations are kept for ever. An hourly vector enters no total, so taking one away
moves none; it only leaves less certain when work was done. So what lies beside a declared cut keeps
its hour: told by the day, more work would straddle the cut, and a figure would fall. What may be
thinned at all is custody's to say.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from flopmeter_collector.custody import Custody
from flopmeter_collector.ledger.base import Batch, Ledger
from flopmeter_collector.split import Told, reach_ns, told_after
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_S

HOURS_PER_DAY = 24

Cuts = Callable[[str, int], Sequence[int]]
"""Of an allocation's phase, the Unix times in ns at which what was declared of its work changes."""

MAXIMUM_DROPPED = 20_000
"""Rows that one commit takes away: reports wait for it, a few tenths of a second."""

STEADY_CLOCK_NS = NS_PER_S
"""Wall and boot time are read one after the other; a larger change of their distance is a step of
the wall clock, and a row beside a step stays: it alone tells where the step was."""


def daily(
    rows: Iterable[HourlyVector], *, before_ns: int, cuts_ns: Sequence[int] = ()
) -> tuple[list[HourlyVector], list[HourlyVector]]:
    """Thin the rows of one key to the last of each day, and to what tells the sides of each cut.

    Args:
        rows: oldest first.
        before_ns: Unix time in ns; rows read later stay as they are.
        cuts_ns: Unix times in ns at which something else was declared to hold: no row of more
            than one hour reaches over one, except where it did so before.

    Returns:
        The rows that go, and those that stay but stand for more hours now.
    """
    dropped: list[HourlyVector] = []
    widened: list[HourlyVector] = []
    waiting: list[HourlyVector] = []
    settled: HourlyVector | None = None
    told: Told | None = None

    def settle() -> None:
        nonlocal settled, told
        if len(waiting) > 1:
            dropped.extend(waiting[:-1])
            widened.append(_one(waiting))
        if waiting:
            told, settled = told_after(waiting[-1], settled, told), waiting[-1]
        waiting.clear()

    for row in rows:
        if row.wall_ns >= before_ns:
            break
        if waiting:
            one = _one([*waiting, row])
            if not _one_day(waiting[0], row) or _reaches_over(one, told, cuts_ns):
                settle()
        waiting.append(row)
    settle()
    return dropped, widened


def _one(rows: Sequence[HourlyVector]) -> HourlyVector:
    """The last of some rows, standing for all of them."""
    return dataclasses.replace(rows[-1], first_hour=min(row.first_hour for row in rows))


def _reaches_over(row: HourlyVector, told: Told | None, cuts_ns: Sequence[int]) -> bool:
    """Whether a row's work may lie on both sides of a cut."""
    from_ns, until_ns = reach_ns(row, told)
    return any(from_ns < cut_ns < until_ns for cut_ns in cuts_ns)


def _one_day(row: HourlyVector, later: HourlyVector) -> bool:
    """Whether two rows may become one: of one day of boot time, without a step between them."""
    if row.hour // HOURS_PER_DAY != later.hour // HOURS_PER_DAY:
        return False
    step_ns = (later.wall_ns - later.boot_ns) - (row.wall_ns - row.boot_ns)
    return abs(step_ns) <= STEADY_CLOCK_NS


def thinning(
    ledger: Ledger, custody: Custody, cuts: Cuts, *, before_ns: int
) -> tuple[Batch, set[str]]:
    """What to commit so that a ledger has a bounded number of old hours less.

    Args:
        ledger: read inside one of its `consistent` blocks.
        custody: says which allocations may be thinned.
        cuts: says where the work of an allocation's phase is cut by what was declared.
        before_ns: Unix time in ns; rows read later stay as they are.

    Returns:
        The batch, empty where nothing is left to thin, and the allocations it is about.
    """
    gone: list[tuple[Key, int]] = []
    kept: list[HourlyVector] = []
    touched: set[str] = set()
    for allocation in filter(custody.may_thin, ledger.allocations()):
        for dropped, widened in _by_key(ledger, allocation, cuts, before_ns=before_ns):
            gone += [(row.key, row.hour) for row in dropped]
            kept += widened
            if dropped:
                touched.add(allocation)
            if len(gone) >= MAXIMUM_DROPPED:
                return Batch(hours=tuple(kept), dropped_hours=tuple(gone)), touched
    return Batch(hours=tuple(kept), dropped_hours=tuple(gone)), touched


def _by_key(
    ledger: Ledger, allocation: str, cuts: Cuts, *, before_ns: int
) -> Iterator[tuple[list[HourlyVector], list[HourlyVector]]]:
    for key, of_key in itertools.groupby(ledger.hours(allocation), key=lambda row: row.key):
        yield daily(of_key, before_ns=before_ns, cuts_ns=cuts(allocation, key.phase))
