"""What each model's published totals were over time, and the pace that gives.

Owns: when a model's totals are put down, and which of its paces are worked out in a round.
May touch: nothing; memory only, no clock, no I/O. What it asks for is written by publish.
Called by judge. Explained in docs/forecast.md and docs/adr/0022-forecast.md.

A row is put down once an hour while a model grows, and one more at the end of a standstill, so
that the time between two rows may be taken as even work. A correction puts down two rows at one
time: what was shown before it, and what it made of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flopmeter_collector.ledger.base import HistoryRow
from flopmeter_core.pace import WINDOW_H, Pace, Point, first_reached_ns, pace_of
from flopmeter_core.units import NS_PER_HOUR

ModelProfiles = Mapping[str, Mapping[str, int]]
"""Model -> counting profile -> most likely FLOP now; ``""`` is everything that was executed."""

MAXIMUM_TRAILS = 1_000
"""Models that are followed: those that were the first to be large enough."""

FOLLOWED_FROM = 1_000
"""A model is followed from this part of the lowest line on: a thousandth."""

PACES_A_ROUND = 5
"""Paces worked out in one round, about 3 ms each: reports must not wait for a thousand models."""

PACE_HOLDS_NS = NS_PER_HOUR // 4
"""A pace is used so long; the totals it is held against are always the newest."""

SMALLEST_CORRECTION = 100
"""A declaration that moves a total by less than this part of it (a hundredth) is no correction."""


@dataclass(slots=True)
class _Kept:
    """A pace that was worked out."""

    pace: Pace | None
    at_ns: int
    row_count: int


class Trails:
    """The history of every model that is followed."""

    def __init__(self, paces_a_round: int = PACES_A_ROUND) -> None:
        """Start with none.

        Args:
            paces_a_round: how many paces are worked out in one round.
        """
        self._paces_a_round = paces_a_round
        self._rows: dict[str, list[HistoryRow]] = {}
        self._shown: dict[str, Mapping[str, int]] = {}
        self._looked_ns = 0
        self._paces: dict[tuple[str, str], _Kept] = {}
        self._budget = 0

    def restore(self, rows: Iterable[HistoryRow]) -> None:
        """Take what the ledger has, oldest first, in the place of what was known."""
        self._rows, self._shown, self._paces = {}, {}, {}
        self.recorded(rows)

    def recorded(self, rows: Iterable[HistoryRow]) -> None:
        """Take rows that are in the ledger by now, oldest first."""
        for row in rows:
            kept = self._rows.setdefault(row.model, [])
            kept.append(row)
            # One row before the window stays: the growth from it reaches into the window.
            oldest_ns = row.at_ns - (WINDOW_H + 1) * NS_PER_HOUR
            while len(kept) > 2 and kept[1].at_ns < oldest_ns:
                kept.pop(0)

    @property
    def newest_ns(self) -> int:
        """Unix time in ns of the newest row of any model; 0 where there is none."""
        return max((rows[-1].at_ns for rows in self._rows.values()), default=0)

    @property
    def names(self) -> Iterable[str]:
        """The models that have a history."""
        return self._rows

    def note(
        self,
        totals: ModelProfiles,
        *,
        now_ns: int,
        lowest_flop: int,
        basis: str,
        corrected: bool,
    ) -> tuple[HistoryRow, ...]:
        """Look at the totals of a round; returns the rows that have to be written.

        Args:
            totals: what is shown now, of the models that moved since the last look.
            now_ns: Unix time in ns.
            lowest_flop: the lowest line a model is held against.
            basis: versions of the method and the device table.
            corrected: whether a declaration was read in this round.
        """
        self._budget = self._paces_a_round
        followed = [model for model in totals if model in self._rows]
        new = [
            model
            for model, profiles in totals.items()
            if model not in self._rows and max(profiles.values()) * FOLLOWED_FROM >= lowest_flop
        ]
        # The largest first, where there is room for some only.
        new.sort(key=lambda model: (-max(totals[model].values()), model))
        followed += new[: max(0, MAXIMUM_TRAILS - len(self._rows))]
        rows: list[HistoryRow] = []
        for model in followed:
            rows += self._note(model, totals[model], now_ns, basis, corrected)
            self._shown[model] = totals[model]
        self._looked_ns = now_ns
        return tuple(rows)

    def _note(
        self, model: str, now: Mapping[str, int], now_ns: int, basis: str, corrected: bool
    ) -> list[HistoryRow]:
        kept = self._rows.get(model)
        if not kept:
            return [HistoryRow(model, now_ns, now, basis=basis)]
        last = kept[-1]
        seen = self._shown.get(model)
        # Until the last look it stood where it stood then; before the first one nobody knows.
        before_ns = max(self._looked_ns, last.at_ns) if seen is not None else last.at_ns
        seen, at_ns = seen or last.totals, max(now_ns, last.at_ns)
        if last.basis != basis or (corrected and _differ(seen, now)):
            rows = [HistoryRow(model, at_ns, now, revalued=True, basis=basis)]
            if seen != last.totals:
                rows.insert(0, HistoryRow(model, before_ns, seen, basis=last.basis))
            return rows
        hour_over = now_ns // NS_PER_HOUR > last.at_ns // NS_PER_HOUR
        if now == last.totals or not hour_over:
            return []
        rows = [HistoryRow(model, at_ns, now, basis=basis)]
        if seen == last.totals and before_ns - last.at_ns >= NS_PER_HOUR:
            # It stood still until the last look.
            rows.insert(0, HistoryRow(model, before_ns, seen, basis=basis))
        return rows

    def first_reached_ns(
        self,
        model: str,
        profile: str,
        flop: int,
        *,
        best_flop: int,
        now_ns: int,
        pending: Iterable[HistoryRow] = (),
        entered: Sequence[tuple[int, int]] = (),
    ) -> int:
        """When a model's total may first have reached an amount it has reached now.

        Args:
            model: the model.
            profile: the counting profile.
            flop: the amount.
            best_flop: what it has now.
            now_ns: Unix time in ns.
            pending: rows that are about to be written.
            entered: of compute entered by hand, when its period began and its FLOP.
        """
        rows = [*self._rows.get(model, ()), *(row for row in pending if row.model == model)]
        points = points_of(rows, profile, best_flop=best_flop, now_ns=now_ns)
        if not points:
            points = [Point(now_ns, best_flop)]
        reached_ns = first_reached_ns(points, flop, entered)
        return now_ns if reached_ns is None else min(now_ns, reached_ns)

    def pace(self, model: str, profile: str, *, best_flop: int, now_ns: int) -> Pace | None:
        """The pace of a model's total under a profile; None where there is none, or not yet."""
        rows = self._rows.get(model)
        if not rows:
            return None
        kept = self._paces.get((model, profile))
        if kept and kept.row_count == len(rows) and now_ns - kept.at_ns < PACE_HOLDS_NS:
            return kept.pace
        if self._budget <= 0:
            return kept.pace if kept else None
        self._budget -= 1
        found = pace_of(points_of(rows, profile, best_flop=best_flop, now_ns=now_ns), now_ns=now_ns)
        self._paces[model, profile] = _Kept(found, now_ns, len(rows))
        return found


def points_of(
    rows: Iterable[HistoryRow], profile: str, *, best_flop: int, now_ns: int
) -> list[Point]:
    """A model's history under one profile, with where it stands now at its end."""
    points = [
        Point(row.at_ns, row.totals.get(profile, row.totals.get("", 0)), row.revalued)
        for row in rows
    ]
    if points and points[-1].at_ns <= now_ns:
        points.append(Point(now_ns, best_flop))
    return points


def _differ(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Whether totals moved by more than work between two looks does, under any profile."""
    if before.keys() != now.keys():
        return True
    return any(
        abs(flop - before[profile]) * SMALLEST_CORRECTION > before[profile]
        for profile, flop in now.items()
    )
