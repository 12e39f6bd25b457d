"""A ledger as it stood at a time: every register cut there, from below and from above.

Owns: which part of a register's growth surely, and which at most, lies before an instant.
May touch: the ledger it wraps, reading.
Called by the lab's reporting for "measured to".
Explained in docs/filings.md and docs/adr/0007-hourly-vectors-and-splits.md.

A ledger keeps a vector for each hour, so a cut inside an hour is known to the hour: what surely
lies before it makes floor, lower and best, what may lie before it makes upper and ceiling.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Any

from flopmeter_collector.ledger.base import Ledger, QuarantinedVector, StoredVector
from flopmeter_collector.spans import Segment
from flopmeter_collector.split import Fold, Places
from flopmeter_core.claims import Claim
from flopmeter_core.registers import Key, Vector
from flopmeter_core.reports import HourlyVector


class Side(enum.Enum):
    """Which growth is kept of an hour that the instant cuts."""

    SURE = "sure"
    AT_MOST = "at_most"


class CutLedger:
    """Reads as the ledger it wraps, up to an instant; everything else is passed on."""

    def __init__(self, ledger: Ledger, until_ns: int, side: Side) -> None:
        """Cut.

        Args:
            ledger: opened for reading, inside one of its `consistent` blocks.
            until_ns: Unix time in ns of the first instant that is left out.
            side: what to keep of the hour it lies in.
        """
        self._ledger = ledger
        self._until_ns = until_ns
        self._side = side

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def vectors(self) -> Iterator[StoredVector]:
        """All branches of all keys as they stood, in key order; keys that began later are gone."""
        folds: dict[str, dict[Key, Fold[bool] | None]] = {}
        branched = {stored.key for stored in self._ledger.vectors() if stored.branch}
        for stored in self._ledger.vectors():
            allocation = stored.key.allocation
            if allocation not in folds:
                # One allocation at a time: its keys are the ones that come next, or came before.
                folds[allocation] = self._folds(allocation)
            fold = folds[allocation].get(stored.key, self._fresh())
            # Two histories of a key: nobody can tell when what was done.
            whole = fold is None or stored.key in branched
            cut = self._cut(None if whole else fold, stored.vector)
            if any(cut):
                yield StoredVector(stored.key, stored.branch, stored.sequence, cut)

    def hours(self, allocation: str) -> Iterable[HourlyVector]:
        """Vectors at the ends of hours that lie before the instant."""
        return (row for row in self._ledger.hours(allocation) if row.wall_ns < self._until_ns)

    def quarantined(self) -> Iterable[QuarantinedVector]:
        """Held vectors; nobody can tell when their work was done, so none of it is sure."""
        return () if self._side is Side.SURE else self._ledger.quarantined()

    def claims(self) -> Iterable[Claim]:
        """None: what training scripts claim is not known by the hour."""
        return ()

    def _fresh(self) -> Fold[bool]:
        return Fold(
            (Segment(None, self._until_ns, True), Segment(self._until_ns, None, False)),
        )

    def _folds(self, allocation: str) -> dict[Key, Fold[bool] | None]:
        """The hours of each key of an allocation; None where they contradict each other."""
        folds: dict[Key, Fold[bool] | None] = {}
        for row in self._ledger.hours(allocation):
            fold = folds.setdefault(row.key, self._fresh())
            if fold is not None and not fold.add(row):
                folds[row.key] = None
        return folds

    def _cut(self, fold: Fold[bool] | None, newest: Vector) -> Vector:
        """What of a vector lies before the instant; all of it, or nothing, may where unknown."""
        parts: dict[Places, Vector] = {(0, 1): newest} if fold is None else fold.split(newest)
        places: list[Places] = [(0,)] if self._side is Side.SURE else [(0,), (0, 1)]
        held = [parts[place] for place in places if place in parts]
        return tuple(map(sum, zip(*held, strict=True))) if held else (0,) * len(newest)
