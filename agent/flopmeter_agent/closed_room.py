"""What makes room for closed registers where there is none: in which order, and what it costs.

Owns: what may go, what is added up, and under whose name.
May touch: nothing; pure functions of rows and fractions.
Called by closed. What may have been shown and is not acknowledged is never touched.
Explained in docs/adr/0012-agent-memory.md and docs/adr/0026-a-full-room.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flopmeter_agent.accumulate import carry_owner
from flopmeter_agent.closed_rows import NO_CARRY, Carries, ClosedRegister, Rows
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import SUBUNITS, Key
from flopmeter_core.units import NS_PER_HOUR

KEPT_NS = 90 * 24 * NS_PER_HOUR
"""How long an acknowledged vector can be sent again."""


@dataclass(slots=True)
class ClosedCounters:
    """What was done for room, in registers."""

    let_go_early: int = 0
    added_up: int = 0
    overflowed: int = 0


@dataclass(slots=True)
class Room:
    """Fits rows and fractions into a fixed number of bytes.

    Attributes:
        limit: the bytes.
        spelled: makes the bytes.
        payload: of what was tried last.
        counters: what it took.
    """

    limit: int
    spelled: Callable[[Rows, Carries], bytes]
    payload: bytes = b""
    counters: ClosedCounters = field(default_factory=ClosedCounters)

    def make(
        self, rows: Rows, carries: Carries, *, boot_id: str, draw: Callable[[], str], up_ns: int
    ) -> tuple[Rows, Carries] | None:
        """What is kept, after as few steps as it takes; None when nothing helps.

        Args:
            rows: all rows; the caller's own.
            carries: all fractions.
            boot_id: the present boot; empty where nothing may be added up.
            draw: gives an incarnation that nothing has used.
            up_ns: up time of this host.
        """
        rows = {key: row for key, row in rows.items() if not _is_over(row, up_ns)}
        if self._fits(rows, carries):
            return rows, carries
        self._let_go(rows, carries, (row for row in rows.values() if row.at_root))
        carries = with_rows(carries, rows)
        if self._fits(rows, carries):
            return rows, carries
        if not boot_id:
            return None
        before = len(rows)
        rows, carries = added_up(rows, carries, boot_id, draw(), overflow=False)
        self.counters.added_up = before - len(rows)
        if self._fits(rows, carries):
            return rows, carries
        before = len(rows)
        rows, carries = added_up(rows, carries, boot_id, draw(), overflow=True)
        self.counters.overflowed = before - len(rows)
        return (rows, carries) if self._fits(rows, carries) else None

    def _fits(self, rows: Rows, carries: Carries) -> bool:
        self.payload = self.spelled(rows, carries)
        return len(self.payload) <= self.limit

    def _let_go(self, rows: Rows, carries: Carries, candidates: Iterable[ClosedRegister]) -> None:
        """Drop the oldest candidates until a quarter of the room is free."""
        candidates = sorted(candidates, key=lambda each: (each.root_up_ns, each.key))
        if not candidates:
            return
        mean = len(self.payload) // (len(rows) + len(carries))
        surplus = len(self.payload) - self.limit * 3 // 4
        for row in candidates[: -(-surplus // mean)]:
            del rows[row.key]
            self.counters.let_go_early += 1


def _is_over(row: ClosedRegister, up_ns: int) -> bool:
    """Whether the root has had a vector for so long that nobody asks for it any more."""
    return row.at_root and up_ns - row.root_up_ns > KEPT_NS


def with_rows(carries: Carries, rows: Mapping[Key, ClosedRegister]) -> Carries:
    """The fractions of owners of whom anything is left."""
    owners = {carry_owner(key) for key in rows}
    return {owner: carry for owner, carry in carries.items() if owner in owners}


def added_up(
    rows: Mapping[Key, ClosedRegister],
    carries: Carries,
    boot_id: str,
    incarnation: str,
    *,
    overflow: bool,
) -> tuple[Rows, Carries]:
    """Add up what was never sent and written in this boot, under keys of a new incarnation.

    A fraction goes on with its owner. Where users are given up, those of owners of whom nothing is
    left go into the sum, and what that leaves below a unit is the sum's own.

    Args:
        rows: all that is kept.
        carries: the fractions, each of an owner of whom there is a row.
        boot_id: the present boot; a disk that was put back or copied starts under another one.
        incarnation: of the sums; random.
        overflow: whether users are given up as well.
    """
    kept: Rows = {}
    groups: dict[Key, list[ClosedRegister]] = {}
    for key, row in rows.items():
        if row.sent or row.boot_id != boot_id:
            kept[key] = row
            continue
        groups.setdefault(_sum_key(key, incarnation, overflow=overflow), []).append(row)
    whole = {of: group for of, group in groups.items() if len(group) > 1}
    kept.update({row.key: row for group in groups.values() for row in group if len(group) == 1})
    fractions = {**carries}
    if overflow:
        owners = {carry_owner(key) for key in kept} | {carry_owner(of) for of in whole}
        for owner in carries.keys() - owners:
            # Every owner has rows, so those of one that has none any more are in a sum.
            device, _, _, evidence, record = owner
            target = (device, OVERFLOW, 0, evidence, record)
            fractions[target] = _sum(fractions.get(target, NO_CARRY), fractions.pop(owner))
    for of, group in whole.items():
        units, left = [], []
        for place, carried in enumerate(fractions.pop(carry_owner(of), NO_CARRY)):
            more, below = divmod(carried, SUBUNITS[place])
            units.append(sum(row.units[place] for row in group) + more)
            left.append(below)
        if any(left):
            fractions[carry_owner(of)] = left
        # Parts of one boot follow each other, so all fit into the time of the last one; where
        # that is not known of a part, it is not known of the sum.
        times = [row.boot_ns for row in group]
        boot_ns = max(times) if all(times) else 0
        kept[of] = ClosedRegister(of, 1, units, boot_id, sent=False, boot_ns=boot_ns)
    return kept, fractions


def _sum_key(key: Key, incarnation: str, *, overflow: bool) -> Key:
    of = replace(key, incarnation=incarnation)
    return replace(of, allocation=OVERFLOW, phase=0) if overflow else of


def _sum(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
